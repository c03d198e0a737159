;; Decides by the first letter of a channel, and refuses users by the first letter of their id.
(module
  (memory (export "memory") 2)
  (global $open (mut i32) (i32.const 0x6f)) ;; o: the letter of anonymous channels
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32)
    (select (i32.const 1024) (i32.const 0) (i32.le_u (local.get 0) (i32.const 100000))))
  (func $channel (param $p i32) (result i32)
    (i32.load8_u (i32.add (i32.add (local.get $p) (i32.const 16)) (i32.load16_u offset=4 (local.get $p)))))
  (func (export "rollcall_classify") (param $p i32) (param $n i32) (result i64)
    (local $c i32)
    (local.set $c (call $channel (local.get $p)))
    (if (i32.eq (local.get $c) (global.get $open)) (then (return (i64.const 2))))
    (if (i32.eq (local.get $c) (i32.const 0x6c)) (then (return (i64.const 3)))) ;; l: denied
    (if (i32.eq (local.get $c) (i32.const 0x68)) (then (return (i64.const 0x101)))) ;; h: authenticated, hidden
    (if (i32.eq (local.get $c) (i32.const 0x63)) (then (return (i64.const 0x202)))) ;; c: anonymous, count only
    (if (i32.eq (local.get $c) (i32.const 0x67)) (then (return (i64.const 0x400)))) ;; g: needs a grant
    (if (i32.eq (local.get $c) (i32.const 0x74)) (then (unreachable))) ;; t
    (if (i32.eq (local.get $c) (i32.const 0x77)) (then (loop $again (br $again)))) ;; w: never ends
    (i64.const 0))
  (func (export "rollcall_authorize") (param $p i32) (param $n i32) (result i64)
    (local $c i32)
    ;; The id follows the host and the channel; an anonymous one has no byte there.
    (local.set $c (i32.load8_u (i32.add
      (i32.add (i32.add (local.get $p) (i32.const 16)) (i32.load16_u offset=4 (local.get $p)))
      (i32.load16_u offset=6 (local.get $p)))))
    (if (i32.eqz (i32.load16_u offset=8 (local.get $p))) (then (return (i64.const 0))))
    (if (i32.eq (local.get $c) (i32.const 0x78)) (then (return (i64.const 1)))) ;; x
    (if (i32.eq (local.get $c) (i32.const 0x79)) (then (unreachable))) ;; y
    (i64.const 0)))
