# SPDX-License-Identifier: MIT
# The human entry. Userspace is built by meson, the module by Kbuild; this file only calls them.

BUILD ?= build
DESTDIR ?=
PREFIX ?= /usr/local
KDIR ?= /lib/modules/$(shell uname -r)/build
K ?= latest

help:	## This list
	@echo 'OpenNPU $(shell cat VERSION)'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'
	@echo 'Variables: BUILD=dir  K=latest|stable|debug (board kernel)  KDIR=kernel tree  YES=1 (install without asking)'

demo:	## Install what is missing, boot the virtual board, write a story through npu.ko
	@tools/demo

demo-soft:	## The same story on the in-process software device only
	@tools/demo --soft

check:	## All tests: host, static checks, board kernels; ends in "N passed, N failed"
	@tests/check

check-quick:	## Host tests only, under two minutes
	@tests/check --quick

all: userspace	## Library, tools, model
userspace: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/setup build
	@meson setup $(BUILD) --prefix=$(PREFIX) >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

test: userspace	## Unit and conformance tests of what is built
	@meson test -C $(BUILD) --print-errorlogs

modules:	## npu.ko for KDIR (default: the running kernel)
	@test -d $(KDIR) || { echo 'make modules: no kernel build tree at $(KDIR); install linux-headers or give KDIR=' >&2; exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

modules-install:	## Install npu.ko of KDIR
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install

install: userspace	## Install library, headers, tools (DESTDIR, PREFIX)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

board:	## Boot the virtual board to a root shell (K=latest)
	@tools/board/board shell -k $(K)

board-clean:	## Remove the board's caches (root, QEMU, kernels)
	@tools/board/board clean

docs:	## The documentation as one site, in build/html
	@tools/setup check
	@sphinx-build -q -W --keep-going -b html Documentation $(BUILD)/html
	@echo 'open $(BUILD)/html/index.html'

clean:	## Remove the build folder
	rm -rf $(BUILD)

.PHONY: help demo demo-soft check check-quick all userspace test modules modules-install install \
	board board-clean docs clean
