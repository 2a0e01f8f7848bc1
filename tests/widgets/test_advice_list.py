from PySide6.QtWidgets import QLabel

from qexplorer.presentation import Advice
from qexplorer.widgets.advice_list import AdviceList

CHANNEL = Advice("Channels differ.", "One scale per channel", figure="43.0 dB, now 33.0", picture="error")
GROUP = Advice("Channels differ.", "One scale for 32 values", figure="45.0 dB, now 33.0", picture="error")
RUN = Advice("The run is slow.", "Try another engine")


def labels(shown: AdviceList) -> list[str]:
    return [label.text() for label in shown.widget().findChildren(QLabel)]


def test_remedies_for_one_problem_stand_under_one_sentence_each_with_its_figures(qtbot):
    shown = AdviceList()
    qtbot.addWidget(shown)
    shown.show_advice([CHANNEL, GROUP, RUN], "Nothing.")
    assert labels(shown) == ["Channels differ.", "43.0 dB, now 33.0", "45.0 dB, now 33.0", "The run is slow."]
    assert [button.text() for button in shown.buttons] == [CHANNEL.remedy, GROUP.remedy, RUN.remedy]
    applied = []
    shown.applied.connect(applied.append)
    shown.buttons[1].click()
    assert applied == [GROUP]


def test_what_is_still_measured_is_said_before_what_is_known(qtbot):
    shown = AdviceList()
    qtbot.addWidget(shown)
    shown.show_advice([RUN], "Nothing.", "Measuring …")
    assert labels(shown) == ["Measuring …", "The run is slow."]
    shown.show_advice([], "Nothing.")
    assert labels(shown) == ["Nothing."]
