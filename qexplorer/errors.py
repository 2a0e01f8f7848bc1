"""The two kinds of failure: `UserError`, which the person can mend, and everything else, which is a bug."""


class UserError(Exception):
    """A mistake or an outer condition that the person can mend.

    `what` says in one sentence what is wrong and with which file, tensor or field; `remedy` says what to do;
    `field` names the setting at fault, so that a form can show the message beside it.
    """

    def __init__(self, what: str, remedy: str = "", *, field: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.field = field

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}".rstrip()
