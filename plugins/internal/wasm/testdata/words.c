// Seed for the fuzz targets. Built with Debian's clang 14 and lld 14:
//   clang --target=wasm32 -O2 -mbulk-memory -c -o words.o words.c
//   wasm-ld --no-entry --export=run --export=fold -z stack-size=16384 -o words.wasm words.o
static unsigned char text[256];
static unsigned (*const folds[2])(unsigned, unsigned char);
static unsigned sum(unsigned h, unsigned char c) { return h * 31 + c; }
static unsigned xor(unsigned h, unsigned char c) { return (h << 5 | h >> 27) ^ c; }
static unsigned (*const folds[2])(unsigned, unsigned char) = {sum, xor};

unsigned fold(unsigned which, unsigned n) {
	unsigned h = 7;
	for (unsigned i = 0; i < n && i < sizeof text; i++) h = folds[which & 1](h, text[i]);
	return h;
}

int run(int command, unsigned n) {
	if (n > sizeof text) __builtin_trap();
	switch (command) {
	case 0: __builtin_memset(text, n, n); return 0;
	case 1: __builtin_memcpy(text + n / 2, text, n / 2); return 1;
	case 2: return fold(0, n);
	case 3: return fold(1, n);
	case 4: return __builtin_wasm_memory_grow(0, n);
	default: return command / (int)n;
	}
}
