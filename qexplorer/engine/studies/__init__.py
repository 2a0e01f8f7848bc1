"""A study: a grid of runs, described in a TOML file, with the state of each run and the manifest to resume it.

```
title = "Four bits"                # left out: the file's name
job = "weight-only"                # the job of every run; or a list of jobs

[settings]                         # what all runs share: any field of the job
data = "digits"
limit = 100

[grid]                             # a list for any field of the job; every combination is a run
model = ["mobilenet_v2_digits", "vit_digits"]
weight_spec = ["int8 channel", "int4 channel mse"]
repairs = ["fold", "fold,mse_clip,gptq"]
seed = [0, 1]
```

`local` runs one in this process, `qexplorer.cluster` on the workers of a Dask cluster; neither torch nor Dask is
imported here before a run starts.
"""
