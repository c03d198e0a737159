  ;; What the hostile plugins have in common. $act does what a small letter stands for, and nothing for other characters.
  (memory (export "memory") 32)
  (table 1 funcref)
  (type $void (func))
  (data (i32.const 64) "a line that a hostile plugin logs over and over")
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32)
    (select (i32.const 65536) (i32.const 0) (i32.le_u (local.get 0) (i32.const 0x100000))))
  (func $forever (call $forever) (call $forever))
  (func $act (param $letter i32) (local $i i32)
    (if (i32.eq (local.get $letter) (i32.const 0x61)) ;; a: abort without a word
      (then (unreachable)))
    (if (i32.eq (local.get $letter) (i32.const 0x62)) ;; b: fill memory over and over
      (then (loop $l (memory.fill (i32.const 0x20000) (i32.const 1) (i32.const 0x1e0000)) (br $l))))
    (if (i32.eq (local.get $letter) (i32.const 0x65)) ;; e: exit
      (then (call $proc_exit (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 0x66)) ;; f: flood the log
      (then (loop $l (call $log (i32.const 3) (i32.const 64) (i32.const 47)) (br $l))))
    (if (i32.eq (local.get $letter) (i32.const 0x67)) ;; g: grow, touch everything, then trap
      (then
        (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (memory.fill (i32.const 0x200000) (i32.const 1)
          (i32.sub (i32.mul (memory.size) (i32.const 0x10000)) (i32.const 0x200000)))
        (unreachable)))
    (if (i32.eq (local.get $letter) (i32.const 0x69)) ;; i: call nothing
      (then (call_indirect (type $void) (i32.const 0))))
    (if (i32.eq (local.get $letter) (i32.const 0x6c)) ;; l: loop
      (then (loop $l (br $l))))
    (if (i32.eq (local.get $letter) (i32.const 0x72)) ;; r: recursion
      (then (call $forever)))
    (if (i32.eq (local.get $letter) (i32.const 0x73)) ;; s: spin for most of the budget, and then behave
      (then
        (local.set $i (i32.const 900000))
        (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))))
