# Every target is one call of the tool in dev/; it installs what it needs and says what it does.
#   CLUSTER=name      another cluster than muster-demo (demo, cluster, images)
#   NODES=n           how many nodes it has
#   CONTEXT=context   a cluster of yours instead; REGISTRY=… is where it gets images from
#   RUNS=n           how many runs (jepsen)
#   ARGS=…            more arguments: for pytest (unit, integration, e2e), for the tool (all others)

PYTHON ?= python3
TOOL := PYTHONPATH=dev/src $(PYTHON) -m muster_dev
BIN := .venv/bin

CLUSTER ?= muster-demo
NODES ?= 3
WHERE = --name $(CLUSTER) --nodes $(NODES) $(if $(CONTEXT),--context $(CONTEXT)) \
	$(if $(REGISTRY),--registry $(REGISTRY))

.DEFAULT_GOAL := help
.PHONY: help env demo cluster cluster-down images lint unit integration e2e test protos crds lock bench-proving \
	bench-dispatch bench-queue bench-kv jepsen

help: ## Show this
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r n t; \
		do printf '  make %-14s %s\n' "$$n" "$$t"; done

env: ## Make .venv with every package installed in place, and build the prover
	@$(TOOL) env

demo: ## Bring up a cluster, install Muster, and show proofs that others' verifiers accept
	@$(TOOL) demo $(WHERE) $(ARGS)

cluster: ## Bring up a real Kubernetes cluster
	@$(TOOL) cluster up $(WHERE) $(ARGS)

cluster-down: ## Remove every cluster, and all else that was made for them; caches stay
	@$(TOOL) cluster down --all

images: ## Build the images and load them into the cluster
	@$(TOOL) images load --cluster $(CLUSTER) $(ARGS)

lint: ## Check style, types, directions of imports, generated files
	@$(TOOL) lint

unit: ## Run the tests that need no server
	@$(TOOL) unit -- $(ARGS)

integration: ## Run the tests against real servers: PostgreSQL, an API server, other provers
	@$(TOOL) integration -- $(ARGS)

e2e: ## Run end-to-end tests, on the cluster muster-test
	@$(TOOL) e2e -- $(ARGS)

test: ## Run lint, unit, integration and e2e
	@$(TOOL) test

protos: env ## Generate the gRPC code from protos/
	@$(BIN)/python packages/muster-protos/generate.py

crds: env ## Generate CRDs and their reference from the models
	@$(BIN)/python -m muster_api.generate

lock: ## Pin all dependencies anew
	@$(TOOL) lock

bench-proving: env ## Compare our prover with gnark, and with py_ecc's verifier
	@$(BIN)/python -m bench.proving $(ARGS)

bench-dispatch: env ## Compare our dispatch with Dask and Celery; needs postgresql and redis-server
	@$(BIN)/python -m bench.dispatch $(ARGS)

jepsen: env ## Break the store in all ways in RUNS runs, and check what clients were told
	@$(BIN)/python -m e2e.jepsen --runs $(or $(RUNS),1) $(ARGS)

bench-queue: env ## Compare our queue with River; needs postgresql
	@$(BIN)/python -m bench.queue $(ARGS)

bench-kv: env ## Compare our key-value store with etcd and Cassandra; needs postgresql, Go, Java 17, Maven
	@$(BIN)/python -m bench.kv $(ARGS)
