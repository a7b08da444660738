"""From a reading to a human who answers.

- `rules` (one file a kind) find that the level of something changes: pure, `rule.step`.
- `watch` lets them hear all that ingest takes in, and ticks. States and findings are committed
  together with the ledger: neither kill -9 nor a batch that comes again loses or repeats one.
- `episodes` writes them down. A row of `alert` is one episode of one rule at one place (rule, part,
  gateway, site, sensor), from its first level until it is normal again; each change of its level is
  a row of `alert_change`, numbered from 1, with value, threshold, text, and in `parts` the figures
  for texts in any language, by the names that plans use as placeholders.
- That is what is handed over: `dispatch` takes each change once (`taken_at_ms`), and makes of it a
  condition of the alarm of its site and hazard (`alarm`), whose source is the episode's rule, part
  and sensor. Several rules may speak of one hazard; the worst holds.
- `escalation` calls people by the plan until one of them answers; `incident` gathers what happens
  at one site.
"""
