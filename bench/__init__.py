"""Figures measured on this machine, one module a figure.

`bench/<id>.py` exports `FIGURE`, which says what is measured and how good it must be, and
`measure(progress)`, plain or async, which measures it and returns a `Result`; `bench.figure` has
all of them. Nobody edits a list: the file's name is the figure's ID.

A figure that compares is a ratio of two things measured in one run, the median of at least five.
"""
