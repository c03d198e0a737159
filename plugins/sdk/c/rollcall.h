/*
 * rollcall.h: plugins of the Rollcall presence gateway in C. See README.md.
 *
 * Include it in one C file. Write a hook with its macro, and the plugin has the hook:
 *
 *     RC_CLASSIFY(request) {
 *         return rc_starts_with(request->channel, RC_TEXT("lobby-")) ? RC_ANONYMOUS : RC_NO_OPINION;
 *     }
 *
 * Needs no C library. Build in two steps, because clang's driver would run wasm-opt, which may be too old:
 *
 *     clang --target=wasm32 -O2 -mbulk-memory -ffreestanding -c -o plugin.o plugin.c
 *     wasm-ld --no-entry --strip-all --stack-first -z stack-size=16384 -o plugin.wasm plugin.o
 *
 * Rollcall runs one call of an instance at a time. Texts are views. Those that a hook gets are valid until it returns,
 * those of the configuration forever.
 */
#ifndef ROLLCALL_H
#define ROLLCALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RC_API static inline __attribute__((unused))

/* ---- Texts ---- */

/* rc_text is a text in UTF-8, without a zero at its end. */
typedef struct {
	const char *data;
	uint32_t size; /* bytes */
} rc_text;

/* RC_TEXT makes a text from a literal. */
#define RC_TEXT(literal) ((rc_text){"" literal, sizeof(literal) - 1})

/* rc_c makes a text from a string with a zero at its end. */
RC_API rc_text rc_c(const char *s) {
	uint32_t n = 0;
	while (s[n]) {
		n++;
	}
	return (rc_text){s, n};
}

/* rc_part returns size bytes of t from start on, or fewer if t ends before. */
RC_API rc_text rc_part(rc_text t, uint32_t start, uint32_t size) {
	start = start < t.size ? start : t.size;
	return (rc_text){t.data + start, size < t.size - start ? size : t.size - start};
}

RC_API bool rc_equal(rc_text a, rc_text b) {
	if (a.size != b.size) {
		return false;
	}
	for (uint32_t i = 0; i < a.size; i++) {
		if (a.data[i] != b.data[i]) {
			return false;
		}
	}
	return true;
}

RC_API char rc_lower(char c) {
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* rc_equal_fold compares, ignoring the case of ASCII letters. */
RC_API bool rc_equal_fold(rc_text a, rc_text b) {
	if (a.size != b.size) {
		return false;
	}
	for (uint32_t i = 0; i < a.size; i++) {
		if (rc_lower(a.data[i]) != rc_lower(b.data[i])) {
			return false;
		}
	}
	return true;
}

RC_API bool rc_starts_with(rc_text t, rc_text prefix) {
	return rc_equal(rc_part(t, 0, prefix.size), prefix);
}

RC_API bool rc_ends_with(rc_text t, rc_text suffix) {
	return t.size >= suffix.size && rc_equal(rc_part(t, t.size - suffix.size, suffix.size), suffix);
}

RC_API bool rc_contains(rc_text t, rc_text part) {
	for (uint32_t i = 0; i + part.size <= t.size; i++) {
		if (rc_equal(rc_part(t, i, part.size), part)) {
			return true;
		}
	}
	return false;
}

/* rc_integer returns the whole number that t is, and otherwise if it is none or has more than 18 digits. */
RC_API int64_t rc_integer(rc_text t, int64_t otherwise) {
	bool negative = t.size && *t.data == '-';
	int64_t n = 0;
	t = rc_part(t, negative, t.size);
	if (!t.size || t.size > 18) {
		return otherwise;
	}
	for (uint32_t i = 0; i < t.size; i++) {
		if (t.data[i] < '0' || t.data[i] > '9') {
			return otherwise;
		}
		n = 10 * n + (t.data[i] - '0');
	}
	return negative ? -n : n;
}

/* rc_find_last returns the index of the last c in t, or t.size if there is none. */
RC_API uint32_t rc_find_last(rc_text t, char c) {
	for (uint32_t i = t.size; i > 0; i--) {
		if (t.data[i - 1] == c) {
			return i - 1;
		}
	}
	return t.size;
}

/* ---- Memory ---- */

extern unsigned char __heap_base; /* from the linker: the start of free memory */

static uintptr_t rc_free; /* the next free byte, 0 before the first use */

/* rc_alloc returns memory that is never freed, aligned to 8 bytes; NULL if the plugin's limit is reached. */
RC_API void *rc_alloc(uint32_t size) {
	const uint64_t page = 65536;
	if (rc_free == 0) {
		rc_free = ((uintptr_t)&__heap_base + 7) & ~(uintptr_t)7;
	}
	uint64_t end = ((uint64_t)rc_free + size + 7) & ~(uint64_t)7;
	uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * page;
	if (end > have) {
		uint64_t pages = (end - have + page - 1) / page;
		if (pages > 65535 || __builtin_wasm_memory_grow(0, (uint32_t)pages) == (size_t)-1) {
			return NULL;
		}
	}
	void *p = (void *)rc_free;
	rc_free = (uintptr_t)end;
	return p;
}

/* rc_block is memory that grows by doubling. */
typedef struct {
	char *data;
	uint32_t size, capacity;
} rc_block;

/* rc_reserve makes room for more bytes after the used ones, and reports whether it could. */
RC_API bool rc_reserve(rc_block *b, uint32_t more) {
	uint64_t need = (uint64_t)b->size + more;
	if (need <= b->capacity && b->data) {
		return true;
	}
	uint64_t capacity = b->capacity ? 2 * (uint64_t)b->capacity : 4096;
	capacity = capacity < need ? need : capacity;
	char *data = capacity <= UINT32_MAX ? rc_alloc((uint32_t)capacity) : NULL;
	if (!data) {
		return false;
	}
	if (b->size) {
		__builtin_memcpy(data, b->data, b->size);
	}
	b->data = data;
	b->capacity = (uint32_t)capacity;
	return true;
}

static rc_block rc_input;   /* Rollcall writes into it */
static rc_block rc_output;  /* the answer of a hook */
static rc_block rc_scratch; /* joined texts */
static rc_block rc_request_block;
static bool rc_full;        /* memory ran out during this call */
static bool rc_too_deep;    /* a JSON value was not read to its end during this call */
static bool rc_configuring; /* texts that are made now stay valid */

/* rc_make returns room for a text, which is valid until the hook returns, or forever in RC_CONFIGURE. It is NULL,
   and the hook fails, when memory has run out. */
RC_API char *rc_make(uint64_t size) {
	if (size > UINT32_MAX / 2) {
		rc_full = true;
		return NULL;
	}
	if (rc_configuring) {
		char *p = rc_alloc((uint32_t)size);
		rc_full |= !p;
		return p;
	}
	if (!rc_scratch.data || rc_scratch.capacity - rc_scratch.size < size) {
		rc_scratch.size = 0; /* in a new block: earlier texts stay in place */
		if (!rc_reserve(&rc_scratch, rc_scratch.capacity + (uint32_t)size)) {
			rc_full = true;
			return NULL;
		}
	}
	char *p = rc_scratch.data + rc_scratch.size;
	rc_scratch.size += (uint32_t)size;
	return p;
}

/* rc_concat joins texts. The result is valid as long as that of rc_make, and empty if that is NULL. */
RC_API rc_text rc_concat(const rc_text *parts, uint32_t count) {
	uint64_t size = 0;
	for (uint32_t i = 0; i < count; i++) {
		size += parts[i].size;
	}
	char *p = rc_make(size);
	if (!p) {
		return (rc_text){"", 0};
	}
	rc_text whole = {p, (uint32_t)size};
	for (uint32_t i = 0; i < count; p += parts[i++].size) {
		__builtin_memcpy(p, parts[i].data, parts[i].size);
	}
	return whole;
}

/* RC_JOIN joins texts: RC_JOIN(RC_TEXT("unknown user "), id). */
#define RC_JOIN(...) \
	rc_concat((const rc_text[]){__VA_ARGS__}, sizeof((const rc_text[]){__VA_ARGS__}) / sizeof(rc_text))

/* ---- Functions of Rollcall ---- */

typedef enum { RC_DEBUG = 0, RC_INFO = 1, RC_WARN = 2, RC_ERROR = 3 } rc_level;

__attribute__((import_module("rollcall"), import_name("log")))
extern void rc_host_log(int32_t level, const char *data, uint32_t size);

__attribute__((import_module("rollcall"), import_name("request")))
extern int32_t rc_host_request(char *data, uint32_t capacity);

/* rc_log writes a line of at most 1 KiB to Caddy's log. */
RC_API void rc_log(rc_level level, rc_text text) {
	rc_host_log((int32_t)level, text.data, text.size);
}

/* rc_request_body returns the JSON body of the HTTP request that is being answered, without its API key. It works in
   members and shape, and is empty elsewhere. */
RC_API rc_text rc_request_body(void) {
	rc_block *b = &rc_request_block;
	int32_t n = rc_host_request(b->data, b->capacity);
	if (n > 0 && (uint32_t)n > b->capacity) {
		if (!rc_reserve(b, (uint32_t)n)) {
			rc_full = true;
			return (rc_text){"", 0};
		}
		n = rc_host_request(b->data, b->capacity);
	}
	return n > 0 && (uint32_t)n <= b->capacity ? (rc_text){b->data, (uint32_t)n} : (rc_text){"", 0};
}

/* ---- The store and counters ----
   The store belongs to this plugin and host on one pod, is the same for all instances, survives another file of the
   plugin, and is empty after a restart. It works in connect, authorize and message; elsewhere the call ends. Keys have 1
   to 128 bytes, values at most 4 KiB, and stay for 1 ms to a day. */

__attribute__((import_module("rollcall"), import_name("kv_get")))
extern int64_t rc_host_kv_get(const char *key, uint32_t key_size, char *data, uint32_t capacity);

__attribute__((import_module("rollcall"), import_name("kv_set")))
extern int32_t rc_host_kv_set(const char *key, uint32_t key_size, const char *data, uint32_t size, int64_t ttl_ms);

__attribute__((import_module("rollcall"), import_name("kv_add")))
extern int64_t rc_host_kv_add(const char *key, uint32_t key_size, int64_t delta, int64_t ttl_ms);

__attribute__((import_module("rollcall"), import_name("count")))
extern void rc_host_count(const char *name, uint32_t size, int64_t delta);

enum { RC_MAX_VALUE = 4096, RC_SECOND = 1000, RC_MINUTE = 60 * RC_SECOND, RC_HOUR = 60 * RC_MINUTE, RC_DAY = 24 * RC_HOUR };

/* rc_kv_get reads a value, which is valid until the hook returns, and reports whether there is one. */
RC_API bool rc_kv_get(rc_text key, rc_text *value) {
	static char buffer[RC_MAX_VALUE];
	int64_t n = rc_host_kv_get(key.data, key.size, buffer, RC_MAX_VALUE);
	*value = (rc_text){"", 0};
	if (n < 0) {
		return false;
	}
	rc_text read = {buffer, (uint32_t)n};
	*value = rc_concat(&read, 1);
	return true;
}

/* rc_kv_set keeps a value for a time, and reports whether it could: in a full store the old value stays. */
RC_API bool rc_kv_set(rc_text key, rc_text value, int64_t ttl_ms) {
	/* Rollcall refuses -1; 0 would remove the value. */
	return rc_host_kv_set(key.data, key.size, value.data, value.size, ttl_ms > 0 ? ttl_ms : -1) == 0;
}

RC_API void rc_kv_delete(rc_text key) { rc_host_kv_set(key.data, key.size, "", 0, 0); }

/* rc_kv_add adds to a counter and returns the sum. A counter that is not there begins at 0 and stays for ttl_ms; later
   calls do not change its end. In a full store the sum is INT64_MAX: write a limit as rc_kv_add(...) > n, and it holds. */
RC_API int64_t rc_kv_add(rc_text key, int64_t delta, int64_t ttl_ms) {
	return rc_host_kv_add(key.data, key.size, delta, ttl_ms);
}

/* rc_count adds to the metric caddy_rollcall_plugin_counter_total. A name has 1 to 40 of a-z, 0-9 and _, a plugin at most
   32 names; delta is 0 or more. It works in every hook. */
RC_API void rc_count(rc_text name, int64_t delta) { rc_host_count(name.data, name.size, delta); }

#define RC_EXPORT(name) __attribute__((export_name(name), used))

RC_EXPORT("rollcall_abi_v1") void rc_abi(void) {}

RC_EXPORT("rollcall_buffer") void *rc_buffer(uint32_t size) {
	rc_input.size = 0;
	return rc_reserve(&rc_input, size) ? rc_input.data : NULL;
}

RC_API int64_t rc_fail(rc_text why) {
	rc_log(RC_ERROR, why);
	return -1;
}

RC_API void rc_begin(void) {
	rc_scratch.size = 0;
	rc_output.size = 0;
	rc_full = rc_too_deep = false;
}

/* rc_result encodes the answer of a hook that answers with bytes. */
RC_API int64_t rc_result(rc_text t) {
	if (rc_full) {
		return rc_fail(RC_TEXT("out of memory"));
	}
	return (int64_t)((uint64_t)(uintptr_t)t.data << 32 | t.size);
}

RC_API uint32_t rc_u16(const char *p) {
	const unsigned char *u = (const unsigned char *)p;
	return (uint32_t)u[0] | (uint32_t)u[1] << 8;
}

RC_API uint32_t rc_u32(const char *p) {
	return rc_u16(p) | rc_u16(p + 2) << 16;
}

/* ---- classify and authorize ---- */

typedef enum {
	RC_NO_OPINION = 0,
	RC_AUTHENTICATED = 1,
	RC_ANONYMOUS = 2,
	RC_DENIED = 3,            /* cannot be joined */
	RC_HIDDEN = 1 << 8,       /* a flag: in no listing */
	RC_COUNT_ONLY = 1 << 9,   /* a flag: needs a login, listed with a number */
	RC_NEED_GRANT = 1 << 10,  /* a flag: needs a login and a grant */
	RC_KIND_FAILED = -1,      /* the hook failed: on_failure decides */
} rc_kind;

/* rc_decision is a kind, with flags or'ed to it. */
typedef int32_t rc_decision;

typedef enum {
	RC_NO_OBJECTION = 0,
	RC_REFUSED = 1,
	RC_VERDICT_FAILED = -1, /* the hook failed: on_failure decides */
} rc_verdict;

typedef struct {
	rc_text host, channel;
	rc_text user, email; /* empty in classify, for an anonymous connection, and for the backend */
	rc_kind site;        /* the kind of the channel by the site's own rules */
	bool anonymous;      /* in authorize and message: the connection has no user */
	bool backend;        /* in message: it comes from the backend */
	bool needs_grant;    /* by the site's own rules; RC_ANONYMOUS is then a failure */
	rc_text connection;  /* in message: the ID of the sender's connection, empty for the backend */
} rc_request;

/* rc_extension returns the value of a tag in an extension, empty if it is not there. */
RC_API rc_text rc_extension(rc_text list, uint32_t tag) {
	while (list.size >= 4) {
		uint32_t found = rc_u16(list.data), size = rc_u16(list.data + 2);
		if (size > list.size - 4) {
			break;
		}
		if (found == tag) {
			return rc_part(list, 4, size);
		}
		list = rc_part(list, 4 + size, list.size);
	}
	return (rc_text){"", 0};
}

RC_API bool rc_read_request(const char *p, uint32_t size, rc_request *r) {
	if (size < 16 || p[0] != 1) {
		return false;
	}
	uint32_t host = rc_u16(p + 4), channel = rc_u16(p + 6), user = rc_u16(p + 8), email = rc_u16(p + 10);
	if ((uint64_t)16 + host + channel + user + email + rc_u32(p + 12) != size) {
		return false;
	}
	const char *text = p + 16;
	r->site = (rc_kind)p[1];
	r->anonymous = rc_u16(p + 2) & 1;
	r->backend = rc_u16(p + 2) & 2;
	r->needs_grant = rc_u16(p + 2) & 4;
	r->host = (rc_text){text, host};
	r->channel = (rc_text){text + host, channel};
	r->user = (rc_text){text + host + channel, user};
	r->email = (rc_text){text + host + channel + user, email};
	r->connection = rc_extension((rc_text){text + host + channel + user + email, rc_u32(p + 12)}, 1);
	return true;
}

#define RC_REQUEST_HOOK(name, result, request)                                          \
	static inline result rc_user_##name(const rc_request *request);                 \
	RC_EXPORT("rollcall_" #name) int64_t rc_export_##name(const char *p, uint32_t n) { \
		rc_request r;                                                           \
		rc_begin();                                                             \
		if (!rc_read_request(p, n, &r)) {                                       \
			return rc_fail(RC_TEXT(#name ": the request is malformed"));    \
		}                                                                       \
		int64_t answer = rc_user_##name(&r);                                    \
		return rc_full ? rc_fail(RC_TEXT("out of memory")) : answer;            \
	}                                                                               \
	static inline result rc_user_##name(const rc_request *request)

/* RC_CLASSIFY starts the function that decides the kind of a channel, and returns an rc_decision. It depends on the
   request and the configuration alone. */
#define RC_CLASSIFY(request) RC_REQUEST_HOOK(classify, rc_decision, request)

/* RC_AUTHORIZE starts the function that may refuse a connection, and returns an rc_verdict. */
#define RC_AUTHORIZE(request) RC_REQUEST_HOOK(authorize, rc_verdict, request)

/* ---- members ---- */

/* RC_LIVE is what browsers see of each other, RC_EVENTS what events show of a user: for members alone. */
typedef enum { RC_USERS = 1, RC_ALL_USERS = 2, RC_CHANNELS = 3, RC_LIVE = 4, RC_EVENTS = 5 } rc_endpoint;

#ifndef RC_MAX_FIELDS
#define RC_MAX_FIELDS 64 /* of one user; with more the hook fails */
#endif

enum { RC_TYPE_TEXT = 1, RC_TYPE_JSON = 2 };

typedef struct {
	rc_text key, value;
	uint8_t type; /* RC_TYPE_TEXT or RC_TYPE_JSON */
} rc_field;

/* rc_member is what an answer shows of one user. */
typedef struct {
	rc_field fields[RC_MAX_FIELDS];
	uint32_t count;
	bool changed;
	bool failed; /* too many fields, or a key that is too long */
} rc_member;

/* rc_find returns a field, or NULL if there is none. */
RC_API rc_field *rc_find(rc_member *m, const char *key) {
	for (uint32_t i = 0; i < m->count; i++) {
		if (rc_equal(m->fields[i].key, rc_c(key))) {
			return &m->fields[i];
		}
	}
	return NULL;
}

/* rc_get returns the value of a field, a text or JSON; it is empty if there is no such field. */
RC_API rc_text rc_get(rc_member *m, const char *key) {
	rc_field *f = rc_find(m, key);
	return f ? f->value : (rc_text){"", 0};
}

RC_API rc_text rc_id(rc_member *m) { return rc_get(m, "id"); }
RC_API rc_text rc_email(rc_member *m) { return rc_get(m, "email"); }

/* rc_info and rc_status return JSON, empty if there is none or if the answer does not show it. */
RC_API rc_text rc_info(rc_member *m) { return rc_get(m, "info"); }
RC_API rc_text rc_status(rc_member *m) { return rc_get(m, "status"); }

RC_API void rc_put(rc_member *m, const char *key, rc_text value, uint8_t type) {
	rc_field *f = rc_find(m, key);
	m->changed = true;
	if (!f) {
		if (m->count == RC_MAX_FIELDS || rc_c(key).size > 255) {
			m->failed = true;
			return;
		}
		f = &m->fields[m->count++];
		f->key = rc_c(key);
	}
	f->value = value;
	f->type = type;
}

/* rc_set sets a field to a text, rc_set_json to a JSON value. Keys have at most 255 bytes. Keys and values must stay until
   the hook returns: literals, RC_JOIN, and texts of the configuration or of the member do. */
RC_API void rc_set(rc_member *m, const char *key, rc_text text) { rc_put(m, key, text, RC_TYPE_TEXT); }
RC_API void rc_set_json(rc_member *m, const char *key, rc_text json) { rc_put(m, key, json, RC_TYPE_JSON); }

/* rc_delete deletes a field. A user without fields is left out. */
RC_API void rc_delete(rc_member *m, const char *key) {
	uint32_t kept = 0;
	for (uint32_t i = 0; i < m->count; i++) {
		if (!rc_equal(m->fields[i].key, rc_c(key))) {
			m->fields[kept++] = m->fields[i];
		}
	}
	m->changed |= kept != m->count;
	m->count = kept;
}

/* rc_rename changes the key of a field, and deletes a field that had the new key. */
RC_API void rc_rename(rc_member *m, const char *from, const char *to) {
	if (rc_equal(rc_c(from), rc_c(to)) || !rc_find(m, from)) {
		return;
	}
	rc_delete(m, to);
	rc_find(m, from)->key = rc_c(to);
	m->changed = true;
	m->failed |= rc_c(to).size > 255;
}

/* rc_hide leaves the user out of the answer, counts included. */
RC_API void rc_hide(rc_member *m) {
	m->count = 0;
	m->changed = true;
}

/* rc_cut splits a text that starts with its length off the front of rest. */
RC_API bool rc_cut(rc_text *rest, rc_text *part) {
	if (rest->size < 4) {
		return false;
	}
	uint32_t size = rc_u32(rest->data);
	if (size > rest->size - 4) {
		return false;
	}
	*part = (rc_text){rest->data + 4, size};
	*rest = (rc_text){rest->data + 4 + size, rest->size - 4 - size};
	return true;
}

RC_API bool rc_read_member(rc_text record, rc_member *m) {
	m->count = 0;
	m->changed = m->failed = false;
	while (record.size) {
		uint32_t key = (unsigned char)record.data[0];
		if (record.size < key + 2 || m->count == RC_MAX_FIELDS) {
			return false;
		}
		rc_field *f = &m->fields[m->count++];
		f->key = (rc_text){record.data + 1, key};
		f->type = (uint8_t)record.data[key + 1];
		record = (rc_text){record.data + key + 2, record.size - key - 2};
		if ((f->type != RC_TYPE_TEXT && f->type != RC_TYPE_JSON) || !rc_cut(&record, &f->value)) {
			return false;
		}
	}
	return true;
}

/* rc_write adds bytes to the answer. */
RC_API void rc_write(rc_text t) {
	if (!rc_reserve(&rc_output, t.size)) {
		rc_full = true;
		return;
	}
	__builtin_memcpy(rc_output.data + rc_output.size, t.data, t.size);
	rc_output.size += t.size;
}

RC_API void rc_write_u32(uint32_t n) {
	const char bytes[4] = {(char)n, (char)(n >> 8), (char)(n >> 16), (char)(n >> 24)};
	rc_write((rc_text){bytes, 4});
}

RC_API void rc_write_member(const rc_member *m) {
	uint32_t size = 0;
	for (uint32_t i = 0; i < m->count; i++) {
		size += 6 + m->fields[i].key.size + m->fields[i].value.size;
	}
	rc_write_u32(size);
	for (uint32_t i = 0; i < m->count; i++) {
		const rc_field *f = &m->fields[i];
		const char key = (char)f->key.size, type = (char)f->type;
		rc_write((rc_text){&key, 1});
		rc_write(f->key);
		rc_write((rc_text){&type, 1});
		rc_write_u32(f->value.size);
		rc_write(f->value);
	}
}

RC_API int64_t rc_members(rc_endpoint endpoint, rc_text batch, void (*each)(rc_endpoint, rc_member *)) {
	static rc_member m;
	const char *copied = batch.data; /* the end of the input that is in the answer, changed or not */
	bool changed = false;
	rc_begin();
	while (batch.size) {
		const char *start = batch.data;
		rc_text record;
		if (!rc_cut(&batch, &record) || !rc_read_member(record, &m)) {
			return rc_fail(RC_TEXT("members: the batch is malformed, or a user has too many fields"));
		}
		if (m.count) {
			each(endpoint, &m);
		}
		if (m.failed) {
			return rc_fail(RC_TEXT("members: a user has too many fields, or a key that is too long"));
		}
		if (m.changed) {
			changed = true;
			rc_write((rc_text){copied, (uint32_t)(start - copied)});
			rc_write_member(&m);
			copied = batch.data;
		}
		rc_scratch.size = 0;
	}
	if (!changed) {
		return rc_full ? rc_fail(RC_TEXT("out of memory")) : 0;
	}
	rc_write((rc_text){copied, (uint32_t)(batch.data - copied)});
	return rc_result((rc_text){rc_output.data, rc_output.size});
}

/* RC_MEMBERS starts the function that changes what is shown of a user. It returns nothing. For browsers, the result is
   kept until the user or the configuration changes: it may depend on these alone. Of its fields, the site shows id and
   those in its option members. */
#define RC_MEMBERS(endpoint, member)                                                                     \
	RC_EXPORT("rollcall_members_live") void rc_export_live(void) {}                                  \
	static inline void rc_user_members(rc_endpoint endpoint, rc_member *member);                     \
	RC_EXPORT("rollcall_members") int64_t rc_export_members(int32_t e, const char *p, uint32_t n) {  \
		return rc_members((rc_endpoint)e, (rc_text){p, n}, rc_user_members);                     \
	}                                                                                                \
	static inline void rc_user_members(rc_endpoint endpoint __attribute__((unused)), rc_member *member)

/* ---- shape ---- */

/* Results of the function of RC_SHAPE besides a text. RC_SHAPE_FAILED: nothing is sent, unless on_failure says so. */
#define RC_UNCHANGED ((rc_text){NULL, 0})
#define RC_SHAPE_FAILED ((rc_text){NULL, 1})

/* rc_written returns the bytes that rc_write has added. */
RC_API rc_text rc_written(void) { return (rc_text){rc_output.data, rc_output.size}; }

/* RC_SHAPE starts the function that gets the whole answer as JSON and returns what is sent instead, as an rc_text. Put
   it together with rc_write, rc_write_string and rc_written. */
#define RC_SHAPE(endpoint, body)                                                                      \
	static inline rc_text rc_user_shape(rc_endpoint endpoint, rc_text body);                      \
	RC_EXPORT("rollcall_shape") int64_t rc_export_shape(int32_t e, const char *p, uint32_t n) {   \
		rc_begin();                                                                           \
		rc_text answer = rc_user_shape((rc_endpoint)e, (rc_text){p, n});                      \
		if (!answer.data) {                                                                   \
			return answer.size ? -1 : rc_full ? rc_fail(RC_TEXT("out of memory")) : 0;    \
		}                                                                                     \
		return answer.size ? rc_result(answer) : rc_fail(RC_TEXT("shape: the answer is empty")); \
	}                                                                                             \
	static inline rc_text rc_user_shape(rc_endpoint endpoint __attribute__((unused)), rc_text body)

/* ---- JSON ---- */

/* rc_json is a value in a JSON text. Its first byte is its kind: one of { [ " t f n - 0-9. It has no bytes if it
   is absent. */
typedef rc_text rc_json;

#define RC_MAX_DEPTH 64

RC_API rc_text rc_skip_space(rc_text t) {
	while (t.size && (*t.data == ' ' || *t.data == '\t' || *t.data == '\n' || *t.data == '\r')) {
		t.data++, t.size--;
	}
	return t;
}

/* rc_json_size returns the size of the value at the start of t, 0 if it is cut. Rollcall sends JSON that is well
   formed, so that brackets and quotes are enough to find the end. */
RC_API uint32_t rc_json_size(rc_text t) {
	uint32_t depth = 0;
	bool quoted = false;
	for (uint32_t i = 0; i < t.size; i++) {
		char c = t.data[i];
		if (quoted) {
			if (c == '\\') {
				i++;
			} else if (c == '"') {
				quoted = false;
				if (!depth) {
					return i + 1;
				}
			}
			continue;
		}
		switch (c) {
		case '"':
			quoted = true;
			break;
		case '{':
		case '[':
			if (++depth > RC_MAX_DEPTH) {
				rc_too_deep = true;
				return 0;
			}
			break;
		case '}':
		case ']':
			if (!depth) {
				return i;
			}
			if (!--depth) {
				return i + 1;
			}
			break;
		case ',':
		case ':':
		case ' ':
		case '\t':
		case '\n':
		case '\r':
			if (!depth) {
				return i;
			}
		}
	}
	return depth || quoted ? 0 : t.size;
}

RC_API bool rc_is_object(rc_json v) { return v.size && *v.data == '{'; }
RC_API bool rc_is_list(rc_json v) { return v.size && *v.data == '['; }
RC_API bool rc_is_string(rc_json v) { return v.size && *v.data == '"'; }
RC_API bool rc_is_true(rc_json v) { return rc_equal(v, RC_TEXT("true")); }

/* rc_iterator iterates over the values of a list or an object; any other value is a list of itself, so that one word and
   several are read alike:
       for (rc_iterator i = rc_items(v); rc_next(&i);) { ... i.value ... } */
typedef struct {
	rc_json name; /* in an object: a string, see rc_string */
	rc_json value;
	rc_text rest;
	char open; /* '{', '[', or 0 for a value by itself */
} rc_iterator;

RC_API rc_iterator rc_items(rc_json v) {
	rc_iterator i = {.rest = v};
	if (rc_is_object(v) || rc_is_list(v)) {
		i.open = *v.data;
		i.rest = (rc_text){v.data + 1, v.size - 1};
	}
	return i;
}

RC_API bool rc_take(rc_iterator *i, rc_json *v) {
	i->rest = rc_skip_space(i->rest);
	uint32_t size = rc_json_size(i->rest);
	*v = (rc_json){i->rest.data, size};
	i->rest = rc_skip_space((rc_text){i->rest.data + size, i->rest.size - size});
	return size > 0;
}

/* rc_next moves to the next value, and reports whether there is one. */
RC_API bool rc_next(rc_iterator *i) {
	i->rest = rc_skip_space(i->rest);
	if (i->rest.size && *i->rest.data == ',') {
		i->rest = (rc_text){i->rest.data + 1, i->rest.size - 1};
	}
	if (i->open == '{') {
		if (!rc_take(i, &i->name) || !i->rest.size || *i->rest.data != ':') {
			return false;
		}
		i->rest = (rc_text){i->rest.data + 1, i->rest.size - 1};
	}
	return rc_take(i, &i->value);
}

RC_API uint32_t rc_hex4(rc_text t) {
	uint32_t n = 0;
	for (uint32_t i = 0; i < 4 && i < t.size; i++) {
		char c = rc_lower(t.data[i]);
		n = n << 4 | (uint32_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
	}
	return n;
}

RC_API uint32_t rc_utf8(uint32_t r, char *out) {
	if (r < 0x80) {
		out[0] = (char)r;
		return 1;
	}
	if (r < 0x800) {
		out[0] = (char)(0xc0 | r >> 6);
		out[1] = (char)(0x80 | (r & 0x3f));
		return 2;
	}
	if (r < 0x10000) {
		out[0] = (char)(0xe0 | r >> 12);
		out[1] = (char)(0x80 | (r >> 6 & 0x3f));
		out[2] = (char)(0x80 | (r & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | r >> 18);
	out[1] = (char)(0x80 | (r >> 12 & 0x3f));
	out[2] = (char)(0x80 | (r >> 6 & 0x3f));
	out[3] = (char)(0x80 | (r & 0x3f));
	return 4;
}

/* rc_unescape reads the character after a backslash at t, and returns the number of bytes read. */
RC_API uint32_t rc_unescape(rc_text t, uint32_t *character) {
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	*character = t.size ? (unsigned char)*t.data : 0;
	for (uint32_t i = 0; i < 5; i++) {
		if (*character == (unsigned char)from[i]) {
			*character = (unsigned char)to[i];
			return 1;
		}
	}
	if (*character != 'u') {
		return t.size ? 1 : 0;
	}
	uint32_t r = rc_hex4(rc_part(t, 1, 4)), used = t.size < 5 ? t.size : 5;
	if (r >= 0xd800 && r < 0xdc00 && t.size >= 11 && t.data[5] == '\\' && t.data[6] == 'u') {
		uint32_t low = rc_hex4(rc_part(t, 7, 4));
		if (low >= 0xdc00 && low < 0xe000) {
			*character = 0x10000 + ((r - 0xd800) << 10) + (low - 0xdc00);
			return 11;
		}
	}
	*character = (r >= 0xd800 && r < 0xe000) || r > 0xffff ? 0xfffd : r;
	return used;
}

/* rc_string returns the text of a JSON string, and other values as they are written. It is a view where the string has
   no escapes, and otherwise valid as long as that of rc_make. */
RC_API rc_text rc_string(rc_json v) {
	if (!rc_is_string(v) || v.size < 2) {
		return v;
	}
	rc_text t = {v.data + 1, v.size - 2};
	if (rc_find_last(t, '\\') == t.size) {
		return t;
	}
	char *out = rc_make(t.size); /* an escape is never shorter than its character */
	uint32_t size = 0;
	if (!out) {
		return (rc_text){"", 0};
	}
	for (uint32_t i = 0; i < t.size;) {
		if (t.data[i] != '\\') {
			out[size++] = t.data[i++];
			continue;
		}
		uint32_t character;
		i += 1 + rc_unescape(rc_part(t, i + 1, t.size), &character);
		size += rc_utf8(character, out + size);
	}
	return (rc_text){out, size};
}

/* rc_value returns the value of a name in an object. It has no bytes if the name is absent. Of a name that is repeated,
   it is the last, which browsers take too. */
RC_API rc_json rc_value(rc_json object, const char *name) {
	rc_json found = {"", 0};
	if (rc_is_object(object)) {
		for (rc_iterator i = rc_items(object); rc_next(&i);) {
			if (rc_equal(rc_string(i.name), rc_c(name))) {
				found = i.value;
			}
		}
	}
	return found;
}

/* rc_write_string adds a text to the answer as a JSON string. */
RC_API void rc_write_string(rc_text t) {
	static const char hex[] = "0123456789abcdef";
	rc_write(RC_TEXT("\""));
	for (uint32_t i = 0; i < t.size; i++) {
		unsigned char c = (unsigned char)t.data[i];
		if (c < 0x20) {
			const char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
			rc_write((rc_text){escape, 6});
			continue;
		}
		if (c == '"' || c == '\\') {
			rc_write(RC_TEXT("\\"));
		}
		rc_write((rc_text){t.data + i, 1});
	}
	rc_write(RC_TEXT("\""));
}

/* rc_write_with adds an object to the answer, with one text replaced, or added if it has no such name. */
RC_API void rc_write_with(rc_json object, const char *name, rc_text text) {
	bool found = false, first = true;
	rc_write(RC_TEXT("{"));
	for (rc_iterator i = rc_items(object); rc_next(&i); first = false) {
		rc_write(first ? RC_TEXT("") : RC_TEXT(","));
		rc_write(i.name);
		rc_write(RC_TEXT(":"));
		if (rc_equal(rc_string(i.name), rc_c(name))) {
			rc_write_string(text);
			found = true;
		} else {
			rc_write(i.value);
		}
	}
	if (!found) {
		rc_write(first ? RC_TEXT("") : RC_TEXT(","));
		rc_write_string(rc_c(name));
		rc_write(RC_TEXT(":"));
		rc_write_string(text);
	}
	rc_write(RC_TEXT("}"));
}

/* ---- connect and message ---- */

/* Results of the functions of RC_CONNECT and RC_MESSAGE besides a text and RC_UNCHANGED. RC_FAILED: on_failure decides. */
#define RC_REFUSE ((rc_text){NULL, 2})
#define RC_FAILED RC_SHAPE_FAILED

RC_API int64_t rc_consulted(rc_text answer) {
	if (rc_full) {
		return rc_fail(RC_TEXT("out of memory"));
	}
	if (rc_too_deep) {
		return rc_fail(RC_TEXT("a value is nested more than 64 deep"));
	}
	if (!answer.data) {
		return answer.size == 1 ? -1 : answer.size == 2;
	}
	return answer.size ? rc_result(answer) : rc_fail(RC_TEXT("the answer is empty"));
}

/* rc_login is a connection that opens or logs in. */
typedef struct {
	rc_text host, connection;
	bool anonymous;     /* the connection has no user */
	rc_text user, email;
	rc_json info;       /* an object, or without bytes */
	rc_json claims;     /* the payload of the token, an object, or without bytes */
} rc_login;

RC_API rc_json rc_present(rc_json v) { return rc_equal(v, RC_TEXT("null")) ? (rc_json){"", 0} : v; }

RC_API int64_t rc_connect(rc_text input, rc_text (*f)(const rc_login *)) {
	rc_begin();
	rc_json user = rc_present(rc_value(input, "user"));
	rc_login login = {
		.host = rc_string(rc_value(input, "host")), .connection = rc_string(rc_value(input, "connection")),
		.anonymous = !user.size, .user = rc_string(rc_value(user, "id")), .email = rc_string(rc_value(user, "email")),
		.info = rc_present(rc_value(user, "info")), .claims = rc_present(rc_value(input, "claims")),
	};
	if (!login.connection.size) {
		return rc_fail(RC_TEXT("connect: the login is malformed"));
	}
	return rc_consulted(f(&login));
}

/* RC_CONNECT starts the function that gets each login, and returns RC_UNCHANGED, RC_REFUSE, or an object with the keys
   info (an object of at most 2 KiB, or null) and channels (grants, if the plugin block says so). */
#define RC_CONNECT(login)                                                               \
	static inline rc_text rc_user_connect(const rc_login *login);                   \
	RC_EXPORT("rollcall_connect") int64_t rc_export_connect(const char *p, uint32_t n) { \
		return rc_connect((rc_text){p, n}, rc_user_connect);                    \
	}                                                                               \
	static inline rc_text rc_user_connect(const rc_login *login)

RC_API int64_t rc_message(rc_text input, rc_text (*f)(const rc_request *, rc_json)) {
	rc_request r;
	rc_text request;
	rc_begin();
	if (!rc_cut(&input, &request) || !rc_read_request(request.data, request.size, &r)) {
		return rc_fail(RC_TEXT("message: the request is malformed"));
	}
	return rc_consulted(f(&r, rc_skip_space(input)));
}

/* RC_MESSAGE starts the function that gets each message, an object, before it is sent to a channel. It returns
   RC_UNCHANGED, RC_REFUSE, or the object that is sent instead: see rc_write_with and rc_written. If it reads a value that
   is nested more than 64 deep, the hook fails. */
#define RC_MESSAGE(sender, message)                                                     \
	static inline rc_text rc_user_message(const rc_request *sender, rc_json message); \
	RC_EXPORT("rollcall_message") int64_t rc_export_message(const char *p, uint32_t n) { \
		return rc_message((rc_text){p, n}, rc_user_message);                    \
	}                                                                               \
	static inline rc_text rc_user_message(const rc_request *sender __attribute__((unused)), rc_json message)

/* ---- Configuration ---- */

/* rc_config is what Rollcall passes to a plugin once. Its texts may be kept. */
typedef struct {
	rc_text host;    /* empty if the plugin block says shared */
	rc_text plugin;  /* its name */
	rc_json options; /* the config block, an object: a word is a string, several are a list, none is true */
} rc_config;

/* rc_option returns the value of an option with one word, and otherwise if there is no such option or it has another
   form. */
RC_API rc_text rc_option(const rc_config *c, const char *name, rc_text otherwise) {
	rc_json v = rc_value(c->options, name);
	return rc_is_string(v) ? rc_string(v) : otherwise;
}

/* rc_refuse refuses the plugin and logs the reason: return it from the function of RC_CONFIGURE. */
RC_API int32_t rc_refuse(rc_text why) {
	rc_log(RC_ERROR, why);
	return 1;
}

/* RC_CONFIGURED is the result of the function of RC_CONFIGURE if all is well. */
#define RC_CONFIGURED 0

/* rc_known reports whether an object has only the given names, separated by spaces; it logs the first other name. */
RC_API bool rc_known(rc_json object, const char *names) {
	for (rc_iterator i = rc_items(object); rc_next(&i);) {
		rc_text name = rc_string(i.name), all = rc_c(names);
		bool found = false;
		while (all.size && all.data[all.size - 1] == ' ') {
			all.size--;
		}
		for (uint32_t start = 0, end = 0; !found && start < all.size; start = ++end) {
			while (end < all.size && all.data[end] != ' ') {
				end++;
			}
			found = rc_equal(name, rc_part(all, start, end - start));
		}
		if (!found) {
			rc_log(RC_ERROR, RC_JOIN(RC_TEXT("config: unknown option \""), name, RC_TEXT("\"; known are: "), all));
			return false;
		}
	}
	return true;
}

RC_API int32_t rc_configure(rc_text input, int32_t (*f)(const rc_config *)) {
	rc_begin();
	rc_configuring = true;
	rc_json all = rc_concat(&input, 1);
	if (!rc_is_object(all) || rc_json_size(all) != all.size) {
		return rc_refuse(RC_TEXT("config: want a JSON object"));
	}
	static rc_config config; /* static, so that a pointer to it stays valid */
	config.host = rc_string(rc_value(all, "host"));
	config.plugin = rc_string(rc_value(all, "plugin"));
	config.options = rc_value(all, "config");
	int32_t result = f(&config);
	rc_configuring = false;
	return result == RC_CONFIGURED && rc_full ? rc_refuse(RC_TEXT("config: out of memory")) : result;
}

/* RC_CONFIGURE starts the function that reads the options, and returns RC_CONFIGURED or rc_refuse(why). */
#define RC_CONFIGURE(config)                                                                 \
	static inline int32_t rc_user_configure(const rc_config *config);                    \
	RC_EXPORT("rollcall_configure") int32_t rc_export_configure(const char *p, uint32_t n) { \
		return rc_configure((rc_text){p, n}, rc_user_configure);                     \
	}                                                                                    \
	static inline int32_t rc_user_configure(const rc_config *config)

#endif
