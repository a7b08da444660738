# Everything a checkout needs. Each target sets up what it uses and is quiet when nothing is to be done.
# ARGS reaches the program behind a target: make demo ARGS="--speed 120", make test ARGS="tests/unit -k ledger".

# Debian puts servers into sbin, which a plain user's PATH leaves out.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
ARGS ?=
BIN := .venv/bin

# Tests of tasks, cancellation, sockets and threads: there interpreters differ.
ON_NEWEST := tests/unit/test_wire_loop.py tests/unit/test_line.py tests/unit/test_poller.py tests/unit/test_signal.py \
	tests/unit/test_outbox.py tests/unit/test_ingest_flow.py tests/unit/test_uplink_waits.py tests/system/test_uplink.py \
	tests/system/test_process.py::test_systemd_hears_how_the_gateway_is_from_its_first_round_to_its_end

.PHONY: help demo test test-newest search check constraints clean

help:
	@echo "make demo         run a storm from ruler to lamp to person    (ARGS for shuichi demo)"
	@echo "make test         every test, against real servers            (ARGS for pytest)"
	@echo "make test-newest  those that depend on the interpreter, on the newest Python that is here"
	@echo "make search       new examples, many more, for what must hold for all (ARGS for pytest)"
	@echo "make check        format, lint, types, and who imports whom"
	@echo "make constraints  compile constraints.txt again               (ARGS=--upgrade for newer releases)"
	@echo "make clean        remove .venv, caches and build output"

demo:
	@scripts/system.sh mosquitto
	@scripts/venv.sh demo
	@$(BIN)/shuichi demo $(ARGS)

test:
	@scripts/system.sh mosquitto mosquitto_sub nats-server influxd victoria-metrics postgres socat mbpoll spin cc
	@scripts/venv.sh dev
ifeq ($(strip $(ARGS)),)
	@$(BIN)/pytest --numprocesses 3 --dist loadfile tests/unit tests/contract tests/golden
	@$(BIN)/pytest --numprocesses 4 --dist loadgroup tests/system
	@$(MAKE) --no-print-directory test-newest
else
	@$(BIN)/pytest $(ARGS)
endif

# What depends on the interpreter (tasks, cancellation, sockets) once more on the newest one that is there.
test-newest:
	@python=$$(scripts/newest-python.sh); \
	if [ -z "$$python" ]; then echo "No Python newer than .venv's is here."; exit 0; fi; \
	PYTHON=$$python scripts/venv.sh dev .venv-newest && \
	.venv-newest/bin/pytest --numprocesses 3 --dist load --maxschedchunk 1 -p no:cacheprovider $(ON_NEWEST)

# `make test` draws the same examples each time; here each run draws others. What fails is drawn first in the next run.
search:
	@scripts/venv.sh dev
	@$(BIN)/pytest --hypothesis-profile search -m hypothesis --timeout 3600 $(or $(ARGS),tests/unit tests/contract)

check:
	@scripts/venv.sh dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@rules=$$($(BIN)/lint-imports) || { echo "$$rules"; exit 1; }; echo "$$rules" | tail -n 1

constraints:
	@test -x $(BIN)/uv || scripts/venv.sh dev # uv alone is enough: the old pins may not fit any more
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --strip-extras --fork-strategy fewest \
		--no-header --no-emit-index-url --no-emit-find-links --quiet --output-file constraints.txt $(ARGS)
	@scripts/venv.sh dev

clean:
	@rm -rf .venv .venv.lock .venv-newest .venv-newest.lock build dist shuichi.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
