# SPDX-License-Identifier: GPL-2.0-or-later
# All that the board has beyond what the virt machine selects.
CONFIG_NPU_BOARD=y
CONFIG_VIRTIO_9P=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_RNG=y
CONFIG_VIRTIO_SERIAL=y
