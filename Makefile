# `make check` runs what CI runs.
.PHONY: check lint types test format

check: lint types test

lint:
	ruff check .
	ruff format --check .

types:
	mypy

test:
	pytest -n auto

format:
	ruff check --fix .
	ruff format .
