"""Studies on a Dask cluster, and `run_study`, which runs one there or in this process.

Dask starts the workers, knows which of them are there and carries messages to them. The study's owner asks the
scheduler for the workers, has each of them load `worker`, and then asks them about their runs: it sends the steps that
are finished already, and fetches reports, further steps, models and the end. Nothing comes to the owner unasked, and
nothing that comes is ever unpickled (`connection`): any client of a scheduler can make it and its workers send what it
likes.

The owner does not import `distributed` at all.
"""
