  ;; The first letter of the first user's id says what happens in members, that of the first channel what happens in
  ;; shape. Otherwise nothing is changed.
  (func (export "rollcall_members") (param $endpoint i32) (param $ptr i32) (param $len i32) (result i64) (local $c i32)
    (local.set $c (i32.load8_u offset=12 (local.get $ptr)))
    (if (i32.eq (local.get $c) (i32.const 0x78)) ;; x: memory that is not there
      (then (return (i64.const 0x7fffffff7fffffff))))
    (if (i32.eq (local.get $c) (i32.const 0x79)) ;; y: no record
      (then (return (i64.const 0x1000000000000))))
    (call $act (local.get $c))
    (i64.const 0))
  (func (export "rollcall_shape") (param $endpoint i32) (param $ptr i32) (param $len i32) (result i64) (local $c i32)
    (local.set $c (i32.load8_u offset=2 (local.get $ptr)))
    (if (i32.eq (local.get $c) (i32.const 0x78))
      (then (return (i64.const 0x7fffffff7fffffff))))
    (if (i32.eq (local.get $c) (i32.const 0x79)) ;; y: the beginning of the document, which is no JSON
      (then (return (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.const 20)))))
    (call $act (local.get $c))
    (i64.const 0))
