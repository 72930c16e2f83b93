# The testbed's NAME=x keeps several side by side; KEEP=1 leaves the demo's servers up.
export NAME KEEP
CARGO ?= cargo
TESTBED = $(CARGO) run --quiet --bin testbed --

.PHONY: help afresh bench demo differential image image-twice test test-gitops test-image rights hostile hostile-broker fuzz up down node-up node-down test-node enos-simulator run fmt lint generate verify parts tools clean-cache model endure simulate

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: parts ## Show the main job on a real API server, a real broker and a simulated EnOS
	$(CARGO) build --quiet --bin stream-pipeline-operator
	@./testbed/demo.sh

test: afresh parts lint verify test-gitops ## Run every check and every test
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} $(CARGO) test --workspace -- --skip f16_ --skip f25_
	@# Alone: two hundred pipelines under a storm are a load of their own, and so is a minute of floods.
	$(CARGO) test --test it f16_
	$(CARGO) test --test it f25_

# rustc 1.95 breaks down over what it kept of an earlier build of these tests, where a type of the API has changed since.
afresh:
	@rm -rf $${CARGO_TARGET_DIR:-target}/debug/incremental/it-*

test-gitops: tools ## Judge objects of every stage and reason as kstatus, Argo CD and Flux do
	cd gitops && go test -count=1 ./...

hostile: parts ## Apply mutated manifests among healthy pipelines (SEED=1, CASES=500); make test has 120 of them
	@counts=$$(mktemp); HOSTILE_COUNTS=$$counts SEED=$(or $(SEED),1) CASES=$(or $(CASES),500) $(CARGO) test --quiet --test it f08_hostile -- --nocapture; \
	ended=$$?; cat $$counts; rm -f $$counts; exit $$ended

hostile-broker: parts ## Let a broker answer falsely, flood and hang up beside healthy ones (SEED=1, SECONDS=300); make test has a minute
	@counts=$$(mktemp); HOSTILE_COUNTS=$$counts HOSTILE_SEED=$(or $(SEED),1) HOSTILE_SECONDS=$(or $(SECONDS),300) $(CARGO) test --quiet --test it f25_; \
	ended=$$?; cat $$counts; rm -f $$counts; exit $$ended

model: tools ## Explore the reset protocol in larger worlds too (MODEL_ONLY=words of a scenario's name)
	MODEL=all $(CARGO) test --test model -- --nocapture

endure: parts ## Kill, stop and continue brokers and operators for minutes, with the real waits
	ENDURE=1 $(CARGO) test --test it -- kill:: broker_restarts --nocapture --test-threads=2

differential: parts ## Compare plans with kafka-consumer-groups, number by number (CASES=300, SEED=7)
	CASES=$${CASES:-300} SEED=$${SEED:-7} $(CARGO) test --quiet --test it differential:: -- --nocapture

rights: parts ## Take each right from the operator's account, and see its test fail (RIGHTS=secrets for those)
	$(CARGO) test --quiet --test it each_right_that_is_taken_away -- --ignored --nocapture

fuzz: tools ## Feed the EnOS decoders with noise (FUZZ_INPUTS=1000000, FUZZ_SECONDS=600, FUZZ_SEED)
	$(CARGO) test --lib backend::enos::tests::fuzz -- --ignored --nocapture

simulate: tools ## Run seeded histories of the real reconcile (SEEDS=1000, FROM=0); each failure is told, shortened
	@SEEDS=$${SEEDS:-1000} FROM=$${FROM:-0} $(CARGO) test --quiet --test simulation histories_keep_every_promise -- --nocapture

bench: parts ## Measure beside what would be run otherwise, half an hour (ONLY='words;words', RUNS=5, OPERATOR=path; PAGE=1 writes docs/performance.md)
	@$(CARGO) run --quiet --bin bench -- $(if $(PAGE),--page)

up: parts ## Start the testbed and leave it up (NAME=x for one of several)
	@$(TESTBED) up

down: ## Stop it
	@$(TESTBED) down

node-up: tools ## Bring up a real node: kubelet, containerd, a broker (needs root; testbed/node)
	@CARGO="$(CARGO)" ./testbed/node/up.sh

node-down: ## Take it down, whatever state it is in
	@./testbed/node/down.sh

test-node: tools ## Install the chart on a real node and use it (BINARY=…, ONLY=words of a check's name, KEEP=1)
	@CARGO="$(CARGO)" ./testbed/node/test.sh

enos-simulator: tools ## Run a simulated EnOS alone (ENOS_PORT, ENOS_ORG, ENOS_ACCESS_KEY, ENOS_SECRET_KEY)
	@$(TESTBED) enos-simulator $(ARGS)

run: tools ## Run the operator against it in the foreground, under the chart's rights
	@. $${CARGO_TARGET_DIR:-target}/testbed/$(if $(NAME),$(NAME)/,)env && KUBECONFIG=$$OPERATOR_KUBECONFIG $(CARGO) run --quiet --bin stream-pipeline-operator -- --listen 127.0.0.1:8080 --log-format text --allow-plain-http --allowed-endpoints 127.0.0.1

image: ## Build the image as an OCI archive, without a container engine (ARCH=arm64, TAG, SOURCE)
	@./testbed/image/build.sh

image-twice: ## Build it again from a clean clone elsewhere, and compare the digests
	@./testbed/image/twice.sh

test-image: parts ## Run the image's program against the real servers (after make image; needs root)
	@./testbed/image/test.sh

fmt: ## Format the code
	$(CARGO) fmt --all

lint: tools ## Check format, lints and the code's own documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --no-deps --workspace --document-private-items

generate: parts ## Write the generated files
	$(CARGO) run --quiet --bin xtask
	UPDATE=1 $(CARGO) test --quiet --lib -- d8_every_message_is_on_one_page every_stage_and_reason_is_in_the_sample d4_every_target_is_drawn
	cd gitops && UPDATE=1 go test -count=1 ./... >/dev/null

verify: parts ## Fail when a generated file is out of date, or a scenario has no test
	$(CARGO) run --quiet --bin xtask -- --check
	GOWORK=off go -C testbed/image test ./...

parts: tools ## Build the servers (cached per version)
	@$(TESTBED) build

tools:
	@./testbed/tools.sh

clean-cache: ## Remove the built servers
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/stream-pipeline-operator"
