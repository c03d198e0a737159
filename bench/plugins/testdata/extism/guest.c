// A plugin for Extism that does the same as the other C guests. It declares the functions of its
// host by hand.
#include "../rules.h"

#define HOST(NAME) __attribute__((import_module("extism:host/env"), import_name(NAME))) extern
#define EXPORT(NAME) __attribute__((export_name(NAME)))

HOST("input_length") uint64_t input_length(void);
HOST("input_load_u8") uint32_t input_load_u8(uint64_t at);
HOST("input_load_u64") uint64_t input_load_u64(uint64_t at);
HOST("alloc") uint64_t host_alloc(uint64_t size);
HOST("store_u8") void store_u8(uint64_t at, uint32_t byte);
HOST("store_u64") void store_u64(uint64_t at, uint64_t bytes);
HOST("output_set") void output_set(uint64_t at, uint64_t size);

// Room for a document of 256 KiB.
static uint8_t input[256 << 10];
static uint8_t output[(512 << 10) + 1];

// read_input copies the input in pieces of 8 bytes, the largest that the interface has. It returns
// the length.
static uint32_t read_input(void) {
	uint64_t size = input_length(), at = 0;
	if (size > sizeof input) {
		return 0;
	}
	for (; at + 8 <= size; at += 8) {
		*(uint64_t *)(input + at) = input_load_u64(at);
	}
	for (; at < size; at++) {
		input[at] = (uint8_t)input_load_u8(at);
	}
	return (uint32_t)size;
}

// write_output passes bytes to the host in the same way.
static void write_output(const uint8_t *from, uint32_t size) {
	uint64_t to = host_alloc(size), at = 0;
	for (; at + 8 <= size; at += 8) {
		store_u64(to + at, *(const uint64_t *)(from + at));
	}
	for (; at < size; at++) {
		store_u8(to + at, from[at]);
	}
	output_set(to, size);
}

// The input is a request of the Rollcall contract: lengths of host and channel at 4 and 6, the host
// at 16.
EXPORT("classify") int32_t classify(void) {
	if (read_input() < 16) {
		return 1;
	}
	uint32_t host = *(uint16_t *)(input + 4), channel = *(uint16_t *)(input + 6);
	uint64_t decision = rule(input + 16 + host, channel);
	write_output((uint8_t *)&decision, sizeof decision);
	return 0;
}

EXPORT("shape") int32_t shape(void) {
	uint32_t size = read_input();
	if (size == 0) {
		return 1;
	}
	write_output(output, mask(input, size, output));
	return 0;
}
