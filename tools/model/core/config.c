// SPDX-License-Identifier: MIT
/*
 * The configuration: what the implementation has, and the assumptions of its
 * timing model. A text file of "key value" lines; '#' starts a comment.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configs.h"
#include "core.h"

#define CONFIG_MAX 16384u

struct key {
	const char *name;
	size_t offset;
	unsigned int size;	/* bytes of the field; 0 = string */
	uint64_t min, max;
};

#define KEY32(n, lo, hi) { #n, offsetof(struct config, n), 4, lo, hi }
#define KEY64(n, lo, hi) { #n, offsetof(struct config, n), 8, lo, hi }

static const struct key keys[] = {
	{ "name", offsetof(struct config, name), 0, 1, sizeof(((struct config *)0)->name) - 1 },
	KEY32(product, 0, 0xffff),
	KEY32(queues, 4, NPU_MAX_QUEUES),
	KEY32(slots, 8, NPU_MAX_SLOTS),
	KEY32(va_bits, 39, 48),
	KEY32(bus_bits, 32, 48),
	KEY32(ring_log2, 1, 16),
	KEY32(core_khz, 1000, 100000000),
	KEY32(timer_hz, 1000000, 1000000000),
	KEY64(max_stream, 4096, 0xfffffff0),
	KEY64(max_macs, 1u << 20, 1ull << 48),
	KEY64(max_bytes, 1u << 16, 1ull << 40),
	KEY32(macs_i8, 1, 1u << 24),
	KEY32(macs_f16, 1, 0xffff),
	KEY32(macs_f32, 1, 0xffff),
	KEY32(lanes, 1, 1u << 20),
	KEY32(copy_bytes, 1, 1u << 20),
	KEY32(sram_kb, 1, 1u << 24),
	KEY32(sram_bytes, 1, 1u << 20),
	KEY32(sram_reuse, 1, 1u << 20),
	KEY32(dram_mbps, 1, 100000000),
	KEY32(dram_latency_ns, 0, 1000000),
	KEY32(command_cycles, 0, 1000000),
	KEY32(control_cycles, 1, 1000000),
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

static int fail(char *err, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *err, size_t size, const char *fmt, ...)
{
	va_list ap;

	if (err && size) {
		va_start(ap, fmt);
		vsnprintf(err, size, fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}

static int set_key(struct config *c, const struct key *k, const char *value, const char *where, unsigned int line,
		   char *err, size_t err_size)
{
	char *field = (char *)c + k->offset;
	uint64_t v;
	char *end;

	if (k->size == 0) {
		size_t n = strlen(value);

		if (n < k->min || n > k->max)
			return fail(err, err_size, "%s:%u: %s must have 1 to %" PRIu64 " characters", where, line,
				    k->name, k->max);
		memcpy(field, value, n + 1);
		return 0;
	}
	errno = 0;
	v = strtoull(value, &end, 10);
	if (!isdigit((unsigned char)value[0]) || *end || errno || v < k->min || v > k->max)
		return fail(err, err_size, "%s:%u: %s must be a number from %" PRIu64 " to %" PRIu64 ", not \"%s\"",
			    where, line, k->name, k->min, k->max, value);
	if (k->size == 4) {
		uint32_t v32 = (uint32_t)v;

		memcpy(field, &v32, sizeof(v32));
	} else {
		memcpy(field, &v, sizeof(v));
	}
	return 0;
}

/* Splits @line in place; 0 = blank, 1 = key and value, -1 = malformed. */
static int split(char *line, char **key, char **value)
{
	char *p = strchr(line, '#');
	char *save, *extra;

	if (p)
		*p = 0;
	*key = strtok_r(line, " \t\r", &save);
	if (!*key)
		return 0;
	*value = strtok_r(NULL, " \t\r", &save);
	extra = strtok_r(NULL, " \t\r", &save);
	return *value && !extra ? 1 : -1;
}

static int parse(struct config *c, char *text, const char *where, char *err, size_t err_size)
{
	bool seen[KEYS] = { false };
	unsigned int line = 0;
	char *next = text;

	while (next) {
		char *cur = next, *key, *value;
		size_t i;
		int r;

		next = strchr(cur, '\n');
		if (next)
			*next++ = 0;
		line++;
		r = split(cur, &key, &value);
		if (r == 0)
			continue;
		if (r < 0)
			return fail(err, err_size, "%s:%u: expected \"key value\"", where, line);
		for (i = 0; i < KEYS && strcmp(keys[i].name, key); i++)
			;
		if (i == KEYS)
			return fail(err, err_size, "%s:%u: unknown key \"%.40s\"", where, line, key);
		if (seen[i])
			return fail(err, err_size, "%s:%u: %s is given twice", where, line, key);
		seen[i] = true;
		r = set_key(c, &keys[i], value, where, line, err, err_size);
		if (r)
			return r;
	}
	for (size_t i = 0; i < KEYS; i++)
		if (!seen[i])
			return fail(err, err_size, "%s: %s is missing", where, keys[i].name);
	return 0;
}

static int read_text(const char *name, char *text, char *err, size_t err_size)
{
	FILE *f;
	size_t n;
	int e;

	if (!strcmp(name, "small") || !strcmp(name, "large")) {
		const char *builtin = name[0] == 's' ? config_small : config_large;

		snprintf(text, CONFIG_MAX, "%s", builtin);
		return 0;
	}
	f = fopen(name, "r");
	if (!f) {
		e = -errno;
		fail(err, err_size, "%s: %s (built-in configurations: small, large)", name, strerror(-e));
		return e;
	}
	n = fread(text, 1, CONFIG_MAX - 1, f);
	text[n] = 0;
	e = ferror(f) ? -EIO : !feof(f) ? -E2BIG : 0;
	fclose(f);
	if (e)
		fail(err, err_size, "%s: %s", name, strerror(-e));
	else if (memchr(text, 0, n))
		e = fail(err, err_size, "%s: not a text file", name);
	return e;
}

int config_load(const char *name, struct config *c, char *err, size_t err_size)
{
	char *text = malloc(CONFIG_MAX);
	int r;

	if (!text)
		return -ENOMEM;
	memset(c, 0, sizeof(*c));
	r = read_text(name ? name : "small", text, err, err_size);
	if (!r)
		r = parse(c, text, name ? name : "small", err, err_size);
	if (!r && c->max_stream % NPU_PACKET_ALIGN)
		r = fail(err, err_size, "%s: max_stream must be a multiple of %u", name, NPU_PACKET_ALIGN);
	free(text);
	return r;
}
