// The guest of the benchmarks in Rust, without the SDK. A message passes.
#![no_std]
#![no_main]

const SIZE: usize = 256 << 10;

#[repr(align(8))]
struct Buffer(core::cell::UnsafeCell<[u8; SIZE]>);
unsafe impl Sync for Buffer {}

static INPUT: Buffer = Buffer(core::cell::UnsafeCell::new([0; SIZE]));

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

#[no_mangle]
pub extern "C" fn rollcall_abi_v1() {}

#[no_mangle]
pub extern "C" fn rollcall_buffer(size: usize) -> *mut u8 {
    if size <= SIZE {
        INPUT.0.get() as *mut u8
    } else {
        core::ptr::null_mut()
    }
}

#[no_mangle]
pub unsafe extern "C" fn rollcall_message(input: *const u8, length: usize) -> u64 {
    let request = u32::from_le(core::ptr::read_unaligned(input as *const u32)) as usize;
    let message = core::slice::from_raw_parts(input.add(4 + request), length - 4 - request);
    if message.first() == Some(&b'{') {
        0
    } else {
        1
    }
}
