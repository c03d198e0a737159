// The guest of the benchmarks in C, without the SDK. A message passes. A message whose first key begins
// with "k" adds to a counter a hundred times, one with "g" reads it as often.
typedef unsigned int u32;
typedef long long i64;

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("rollcall"), import_name(name)))

IMPORT("kv_add") i64 kv_add(const char *key, u32 length, i64 delta, i64 ttl);
IMPORT("kv_get") i64 kv_get(const char *key, u32 length, void *value, u32 capacity);

static _Alignas(8) unsigned char input[256 << 10];
static i64 counter;

EXPORT("rollcall_abi_v1") void marker(void) {}

EXPORT("rollcall_buffer") void *buffer(u32 size) { return size <= sizeof input ? input : 0; }

EXPORT("rollcall_message") i64 message(const unsigned char *in, u32 length) {
	static const char key[] = "messages|0123456789";
	u32 at = 4 + *(const u32 *)in;
	if (at + 3 > length)
		return 0;
	switch (in[at + 2]) {
	case 'k':
		for (int i = 0; i < 100; i++)
			counter = kv_add(key, sizeof key - 1, 1, 60000);
		break;
	case 'g':
		for (int i = 0; i < 100; i++)
			kv_get(key, sizeof key - 1, &counter, sizeof counter);
		break;
	}
	return 0;
}
