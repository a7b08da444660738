"""The kinds of alert rules, one module a kind.

A module exports `Config`, a `RuleConfig` with `kind` whose method `rules(name)` gives the rules
that it comes to; `kind = "x"` in `cloud.toml` finds it by its file name.
"""
