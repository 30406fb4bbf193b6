"""A whole run as one value: `edgecv run` makes it of its options, `pipeline.toml` of its keys.

| module | |
|---|---|
| `config` | what there is to say about a run |
| `toml_lines`, `reading` | the file, with the line of whatever is wrong in it |
| `opening` | sources, model and sinks of it, opened |
| `plan` | what would run, without running it |
| `reloading` | SIGHUP |
"""
