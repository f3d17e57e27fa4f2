# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Stock Debian 13 arm64 (6.12 LTS). DRM_ACCEL is off: the driver is a render node.

kernel_describe() {
	echo "stock Debian 13 arm64, $(kernel_release)"
}

kernel_release() {
	lock_get stable_release
}

kernel_ensure() {
	stock_ensure linux-image
}

kernel_headers() {
	echo "/usr/src/linux-headers-$(kernel_release)"
}
