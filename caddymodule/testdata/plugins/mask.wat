;; Writes stars over e-mail addresses and leaves out users whose id begins with s. An id that begins with t is its end.
(module
  (memory (export "memory") 6)
  (global $star (mut i32) (i32.const 0x2a))
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32)
    (select (i32.const 65536) (i32.const 0) (i32.le_u (local.get 0) (i32.const 98304))))
  ;; Writes stars into the fields of a record and tells whether it stays.
  (func $record (param $p i32) (param $end i32) (result i32)
    (local $key i32) (local $value i32) (local $length i32) (local $stays i32)
    (local.set $stays (i32.const 1))
    (loop $field
      (if (i32.lt_u (local.get $p) (local.get $end)) (then
        (local.set $key (i32.load8_u (local.get $p)))
        (local.set $value (i32.add (local.get $p) (i32.add (local.get $key) (i32.const 6))))
        (local.set $length (i32.load (i32.sub (local.get $value) (i32.const 4))))
        (if (i32.eq (local.get $key) (i32.const 5)) (then ;; email
          (memory.fill (local.get $value) (global.get $star) (local.get $length))))
        (if (i32.and (i32.eq (local.get $key) (i32.const 2)) (i32.ne (local.get $length) (i32.const 0))) (then ;; id
          (if (i32.eq (i32.load8_u (local.get $value)) (i32.const 0x74)) (then (unreachable)))
          (if (i32.eq (i32.load8_u (local.get $value)) (i32.const 0x73)) (then (local.set $stays (i32.const 0))))))
        (local.set $p (i32.add (local.get $value) (local.get $length)))
        (br $field))))
    (local.get $stays))
  (func (export "rollcall_members") (param $e i32) (param $p i32) (param $n i32) (result i64)
    (local $end i32) (local $out i32) (local $length i32)
    (local.set $end (i32.add (local.get $p) (local.get $n)))
    (local.set $out (i32.const 196608))
    (loop $next
      (if (i32.lt_u (local.get $p) (local.get $end)) (then
        (local.set $length (i32.load (local.get $p)))
        (local.set $p (i32.add (local.get $p) (i32.const 4)))
        (if (call $record (local.get $p) (i32.add (local.get $p) (local.get $length)))
          (then
            (i32.store (local.get $out) (local.get $length))
            (memory.copy (i32.add (local.get $out) (i32.const 4)) (local.get $p) (local.get $length))
            (local.set $out (i32.add (local.get $out) (i32.add (local.get $length) (i32.const 4)))))
          (else
            (i32.store (local.get $out) (i32.const 0))
            (local.set $out (i32.add (local.get $out) (i32.const 4)))))
        (local.set $p (i32.add (local.get $p) (local.get $length)))
        (br $next))))
    (i64.or (i64.const 0x0003000000000000) ;; 196608 << 32
      (i64.extend_i32_u (i32.sub (local.get $out) (i32.const 196608))))))
