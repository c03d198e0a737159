  ;; The first letter of the channel says what happens in classify. Channels are anonymous.
  (func (export "rollcall_classify") (param $ptr i32) (param $len i32) (result i64) (local $c i32)
    (local.set $c (i32.load8_u
      (i32.add (i32.add (local.get $ptr) (i32.const 16)) (i32.load16_u offset=4 (local.get $ptr)))))
    (if (i32.eq (local.get $c) (i32.const 0x78)) ;; x: a result that the contract does not allow
      (then (return (i64.const -1))))
    (call $act (local.get $c))
    (i64.const 2))
