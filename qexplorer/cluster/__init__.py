"""Studies on a Dask cluster, and `run_study`, which runs one there or in this process.

The study's owner submits each run as a Dask task. While a run is on a worker, the two talk about it: the worker sends
messages (`messages`: started, stepped, offered) as Dask events, and the owner calls the worker's `Mailbox` to send the
steps that are finished already, and to fetch each further step and each model in chunks. Dask itself carries the
result, moves the runs of lost workers to others and cancels.

`distributed` is imported only when a study is run on a cluster.
"""
