/**
 * Bytes that the garbage collector does not manage, so that the host can keep their address. They live as long as the
 * plugin and only grow.
 */
export class Bytes {
  ptr: usize = 0;
  length: usize = 0;
  capacity: usize = 0;

  clear(): void {
    this.length = 0;
  }

  /** Makes room for more bytes after the existing ones. The address may change. */
  reserve(more: usize): void {
    const need = this.length + more;
    if (need <= this.capacity) return;
    const capacity = max(max(need, this.capacity * 2), 256);
    this.ptr = this.ptr == 0 ? heap.alloc(capacity) : heap.realloc(this.ptr, capacity);
    this.capacity = capacity;
  }

  putByte(byte: u32): void {
    this.reserve(1);
    store<u8>(this.ptr + this.length++, <u8>byte);
  }

  putU32(value: u32): void {
    this.reserve(4);
    store<u32>(this.ptr + this.length, value);
    this.length += 4;
  }

  putBytes(ptr: usize, length: usize): void {
    this.reserve(length);
    memory.copy(this.ptr + this.length, ptr, length);
    this.length += length;
  }

  /** Appends a text as UTF-8; half a surrogate pair becomes U+FFFD. */
  putText(text: string): void {
    this.reserve(text.length * 3);
    this.length += String.UTF8.encodeUnsafe(
      changetype<usize>(text), text.length, this.ptr + this.length, false, String.UTF8.ErrorMode.REPLACE,
    );
  }
}
