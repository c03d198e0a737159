  ;; It overwrites the e-mail address of every user with asterisks.
  (func (export "rollcall_members") (param $endpoint i32) (param $ptr i32) (param $len i32) (result i64)
    (local $p i32) (local $end i32) (local $stop i32) (local $k i32) (local $v i32)
    (local.set $p (local.get $ptr))
    (local.set $end (i32.add (local.get $ptr) (local.get $len)))
    (block $done (loop $records
      (br_if $done (i32.ge_u (local.get $p) (local.get $end)))
      (local.set $stop (i32.add (i32.add (local.get $p) (i32.const 4)) (i32.load (local.get $p))))
      (local.set $p (i32.add (local.get $p) (i32.const 4)))
      (block $next (loop $fields
        (br_if $next (i32.ge_u (local.get $p) (local.get $stop)))
        (local.set $k (i32.load8_u (local.get $p)))
        (local.set $v (i32.add (i32.add (local.get $p) (i32.const 2)) (local.get $k)))
        (if (i32.and (i32.eq (local.get $k) (i32.const 5))
            (i32.eq (i32.load offset=1 (local.get $p)) (i32.const 0x69616d65))) ;; emai
          (then (memory.fill (i32.add (local.get $v) (i32.const 4)) (i32.const 0x2a) (i32.load (local.get $v)))))
        (local.set $p (i32.add (i32.add (local.get $v) (i32.const 4)) (i32.load (local.get $v))))
        (br $fields)))
      (br $records)))
    (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.extend_i32_u (local.get $len))))
