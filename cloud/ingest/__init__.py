"""Takes in what gateways send: MQTT, decoding, rules, store, ledger, acknowledgements.

    session → turns → decoding → examination (rules) → writing (store, ledger) → ack

`worker.Ingest` puts the parts together. The order is decision record 0020.
"""
