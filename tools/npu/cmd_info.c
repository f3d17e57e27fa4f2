// SPDX-License-Identifier: MIT
/* npu info: what devices there are and what they can do. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include <npu/npu.h>

#include "npu_regs.h"
#include "tool.h"

static const char help[] =
"usage: npu info [-d DEVICE] [--json]\n\n"
"Lists devices and describes the one of -d, of NPU_DEVICE, or the first.\n\n"
"  -d, --device NAME  /dev/accel/accel0, drm, soft, soft:config=large,...\n"
"  -j, --json         for programs\n"
"  -h, --help         this text\n";

static const struct {
	uint32_t bit;
	const char *name;
} features[] = {
	{ NPU_FEAT_USER_QUEUES, "user-queues" }, { NPU_FEAT_SUSPEND, "suspend" }, { NPU_FEAT_COHERENT, "coherent" },
	{ NPU_FEAT_QUEUE_RESET, "queue-reset" }, { NPU_FEAT_MIN_SHARE, "min-share" },
	{ NPU_FEAT_ENGINE_CYCLES, "engine-cycles" }, { NPU_FEAT_ACTIVATIONS, "activations" },
};

struct list {
	bool json;
	unsigned int count;
};

static void json_text(const char *key, const char *value)
{
	printf("\"%s\":", key);
	tool_json_string(stdout, value, strlen(value));
}

static int list_one(void *data, const struct npu_device_entry *e)
{
	struct list *l = data;

	if (l->json) {
		printf("%s{", l->count++ ? "," : "");
		json_text("name", e->name);
		putchar(',');
		json_text("driver", e->driver);
		putchar(',');
		json_text("bus", e->bus);
		printf(",\"accessible\":%s}", e->accessible ? "true" : "false");
	} else {
		printf("  %-22s %-10s %s%s\n", e->name, e->driver, e->bus, e->accessible ? "" : " (permission denied)");
	}
	return 0;
}

/* Names of the bits of a mask, separated as the format wants. */
static void put_features(uint64_t mask, bool json)
{
	const char *sep = "";

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (mask & features[i].bit) {
			printf(json ? "%s\"%s\"" : "%s%s", sep, features[i].name);
			sep = json ? "," : " ";
		}
}

static void put_ops(uint64_t mask, bool json)
{
	const char *sep = "";

	for (unsigned int op = NPU_OP_FIRST; op <= NPU_OP_LAST; op++)
		if (mask >> NPU_OP_BIT(op) & 1) {
			const char *name = npu_op_name(op);
			char number[16];

			if (!name) {
				snprintf(number, sizeof(number), "OP_0x%02X", op);
				name = number;
			}
			printf(json ? "%s\"%s\"" : "%s%s", sep, name);
			sep = json ? "," : " ";
		}
}

static void put_types(uint32_t mask, bool json)
{
	const char *sep = "";

	for (unsigned int t = 0; t < 32; t++)
		if ((mask >> t & 1) && npu_type_name(t)) {
			printf(json ? "%s\"%s\"" : "%s%s", sep, npu_type_name(t));
			sep = json ? "," : " ";
		}
}

static void print_text(struct npu_device *dev, const struct npu_device_info *i, const struct npu_counters *c)
{
	char b[16];

	printf("\n%s: driver %s %s%s%s\n", npu_device_name(dev), i->driver, i->driver_version,
	       i->driver_date[0] ? " of " : "", i->driver_date);
	printf("  implementer 0x%04x, product 0x%04x, revision %u.%u.%u, interface %u.%u, numerics profile %u, errata 0x%"
	       PRIx64 "\n", i->impl >> 16, i->impl & 0xffff, i->rev >> 16, i->rev >> 8 & 0xff, i->rev & 0xff,
	       i->intf >> 16, i->intf & 0xffff, i->numerics, i->errata);
	printf("  features:        ");
	put_features(i->features, false);
	printf("\n  operations:      ");
	put_ops(i->ops, false);
	printf("\n  weights, rows:   ");
	put_types(i->types_rows, false);
	printf("\n  weights, tiles:  ");
	put_types(i->types_tiles, false);
	printf("\n  topology:        %u hardware queues, %u address-space slots of %u bits, %s\n", i->hw_queues, i->slots,
	       i->va_bits, i->coherent ? "coherent" : "not coherent");
	printf("  core:            %u MHz (now %u), MACs per cycle int8 %u, f16 %u, f32 %u, %u lanes\n", i->core_khz / 1000,
	       c->core_khz / 1000, i->macs_i8, i->macs_f16, i->macs_f32, i->lanes);
	printf("  memory:          %u KiB on chip, %.1f GB/s\n", i->sram_kb, i->dram_mbps / 1000.0);
	printf("  one command:     %sMACs, ", tool_si((double)i->max_macs, b));
	printf("%sB; a stream %u bytes; %u jobs a submission\n", tool_si((double)i->max_bytes, b), i->max_stream, i->max_jobs);
	printf("  priorities:      %s%s%s%s\n", i->priorities & 1 ? "low " : "", i->priorities & 2 ? "medium " : "",
	       i->priorities & 4 ? "high " : "", i->priorities & 8 ? "realtime" : "");
	printf("  since the start: %" PRIu64 " commands, %" PRIu64 " cycles, busy %" PRIu64 " matrix %" PRIu64 " vector %"
	       PRIu64 " copy, %sB read, ", c->commands, c->cycles, c->engine[0], c->engine[1], c->engine[2],
	       tool_si((double)c->bytes_read, b));
	printf("%sB written, %u resets\n", tool_si((double)c->bytes_written, b), c->resets);
}

static void print_json(struct npu_device *dev, const struct npu_device_info *i, const struct npu_counters *c)
{
	printf("{");
	json_text("name", npu_device_name(dev));
	putchar(',');
	json_text("driver", i->driver);
	putchar(',');
	json_text("driver_version", i->driver_version);
	printf(",\"impl\":%u,\"rev\":%u,\"interface\":%u,\"numerics\":%u,\"errata\":%" PRIu64 ",\"features\":[", i->impl, i->rev,
	       i->intf, i->numerics, i->errata);
	put_features(i->features, true);
	printf("],\"operations\":[");
	put_ops(i->ops, true);
	printf("],\"weights_rows\":[");
	put_types(i->types_rows, true);
	printf("],\"weights_tiles\":[");
	put_types(i->types_tiles, true);
	printf("],\"hw_queues\":%u,\"slots\":%u,\"va_bits\":%u,\"coherent\":%s,\"core_khz\":%u,\"macs_i8\":%u,\"macs_f16\":%u,"
	       "\"macs_f32\":%u,\"lanes\":%u,\"sram_kb\":%u,\"dram_mbps\":%u,\"max_macs\":%" PRIu64 ",\"max_bytes\":%" PRIu64
	       ",\"max_stream\":%u,\"max_jobs\":%u,\"timer_hz\":%u,\"priorities\":%u,", i->hw_queues, i->slots, i->va_bits,
	       i->coherent ? "true" : "false", i->core_khz, i->macs_i8, i->macs_f16, i->macs_f32, i->lanes, i->sram_kb,
	       i->dram_mbps, i->max_macs, i->max_bytes, i->max_stream, i->max_jobs, i->timer_hz, i->priorities);
	printf("\"counters\":{\"timer\":%" PRIu64 ",\"cycles\":%" PRIu64 ",\"matrix\":%" PRIu64 ",\"vector\":%" PRIu64
	       ",\"copy\":%" PRIu64 ",\"bytes_read\":%" PRIu64 ",\"bytes_written\":%" PRIu64 ",\"macs\":%" PRIu64
	       ",\"commands\":%" PRIu64 ",\"resets\":%u}}", c->timer, c->cycles, c->engine[0], c->engine[1], c->engine[2],
	       c->bytes_read, c->bytes_written, c->macs, c->commands, c->resets);
}

static int describe(const char *name, bool json)
{
	struct npu_device *dev = tool_open("info", name);
	struct npu_device_info info;
	struct npu_counters c;
	int err;

	if (!dev)
		return 1;
	err = npu_device_query(dev, &info, sizeof(info));
	if (!err)
		err = npu_device_counters(dev, &c, sizeof(c));
	if (err)
		tool_fail("info", dev, npu_device_name(dev), err);
	else if (json)
		print_json(dev, &info, &c);
	else
		print_text(dev, &info, &c);
	npu_device_close(dev);
	return err != 0;
}

int cmd_info(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "device", required_argument, NULL, 'd' }, { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' }, { 0 }
	};
	const char *name = NULL;
	struct list l = { 0 };
	int c, ret;

	while ((c = getopt_long(argc, argv, "d:jh", longs, NULL)) != -1) {
		switch (c) {
		case 'd': name = optarg; break;
		case 'j': l.json = true; break;
		case 'h': fputs(help, stdout); return 0;
		default: fputs(help, stderr); return 2;
		}
	}
	if (optind != argc) {
		fputs(help, stderr);
		return 2;
	}
	fputs(l.json ? "{\"devices\":[" : "Devices:\n", stdout);
	npu_device_list(list_one, &l);
	if (l.json)
		printf("],\"device\":");
	ret = describe(name, l.json);
	if (l.json)
		puts(ret ? "null}" : "}");
	return ret;
}
