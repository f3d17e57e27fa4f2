# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Stock arm64 kernel of Debian 13's backports, with DRM_ACCEL.

kernel_describe() {
	echo "stock arm64 of Debian 13 backports, $(kernel_release)"
}

kernel_release() {
	lock_get latest_release
}

kernel_ensure() {
	stock_ensure linux-binary linux-modules
}

kernel_headers() {
	echo "/usr/src/linux-headers-$(kernel_release)"
}
