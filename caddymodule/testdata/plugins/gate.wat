;; Decides about logins by the first letter of the user's id, and about messages by the first letter of
;; the first text in them. Anonymous connections are refused on hosts that begin with r.
(module
  (memory (export "memory") 32)
  (data (i32.const 16) "{\22info\22:{\22badge\22:\22staff\22}}")
  (data (i32.const 64) "{\22info\22:null}")
  (data (i32.const 96) "{\22channels\22:[\22team-*\22]}")
  (data (i32.const 128) "{\22info\22: {\22badge\22: \22x\22}, \22channels\22:{\22team-1\22:[\22join\22,\22see\22]}}")
  (data (i32.const 256) "{\22x\22:\22replaced\22}")
  (data (i32.const 288) "{\22info\22:{")
  (data (i32.const 304) "{\22x\22:\22")
  (data (i32.const 320) "not json")
  (global $calls (mut i32) (i32.const 0))
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32) (i32.const 1048576))
  (func $slice (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
  ;; The address behind the first four bytes like these, or 0.
  (func $after (param $p i32) (param $n i32) (param $word i32) (result i32)
    (local $end i32)
    (local.set $end (i32.sub (i32.add (local.get $p) (local.get $n)) (i32.const 4)))
    (loop $next
      (if (i32.gt_u (local.get $p) (local.get $end)) (then (return (i32.const 0))))
      (if (i32.eq (i32.load (local.get $p)) (local.get $word)) (then (return (i32.add (local.get $p) (i32.const 4)))))
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (br $next))
    (unreachable))
  (func (export "rollcall_connect") (param $p i32) (param $n i32) (result i64)
    (local $at i32) (local $c i32) (local $size i32)
    (local.set $at (call $after (local.get $p) (local.get $n) (i32.const 0x22646922))) ;; "id"
    (if (i32.eqz (local.get $at)) (then
      (return (i64.extend_i32_u (i32.eq (i32.load8_u offset=9 (local.get $p)) (i32.const 0x72)))))) ;; r
    (local.set $c (i32.load8_u offset=2 (local.get $at)))
    (if (i32.eq (local.get $c) (i32.const 0x72)) (then (return (i64.const 1)))) ;; r
    (if (i32.eq (local.get $c) (i32.const 0x74)) (then (unreachable))) ;; t
    (if (i32.eq (local.get $c) (i32.const 0x77)) (then (loop $again (br $again)))) ;; w: never ends
    (if (i32.eq (local.get $c) (i32.const 0x69)) (then (return (call $slice (i32.const 16) (i32.const 26))))) ;; i
    (if (i32.eq (local.get $c) (i32.const 0x6e)) (then (return (call $slice (i32.const 64) (i32.const 13))))) ;; n
    (if (i32.eq (local.get $c) (i32.const 0x67)) (then (return (call $slice (i32.const 96) (i32.const 23))))) ;; g
    (if (i32.eq (local.get $c) (i32.const 0x62)) (then (return (call $slice (i32.const 128) (i32.const 62))))) ;; b
    (if (i32.eq (local.get $c) (i32.const 0x7a)) (then (return (call $slice (i32.const 320) (i32.const 8))))) ;; z
    (if (i32.eq (local.get $c) (i32.const 0x63)) (then ;; c: the claims as info
      (local.set $at (i32.sub (call $after (local.get $p) (local.get $n) (i32.const 0x616c6322)) (i32.const 4)))
      (local.set $size (i32.sub (i32.add (local.get $p) (local.get $n)) (local.get $at)))
      (memory.copy (i32.const 65536) (i32.const 288) (i32.const 9))
      (memory.copy (i32.const 65545) (local.get $at) (local.get $size))
      (i32.store8 (i32.add (i32.const 65545) (local.get $size)) (i32.const 0x7d))
      (return (call $slice (i32.const 65536) (i32.add (local.get $size) (i32.const 10))))))
    (i64.const 0))
  (func (export "rollcall_message") (param $p i32) (param $n i32) (result i64)
    (local $m i32) (local $c i32) (local $size i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (local.set $m (i32.add (i32.add (local.get $p) (i32.const 4)) (i32.load (local.get $p))))
    (local.set $c (i32.load8_u offset=6 (local.get $m)))
    (local.set $p (i32.add (local.get $p) (i32.const 4))) ;; the request
    (if (i32.eq (local.get $c) (i32.const 0x72)) (then (return (i64.const 1)))) ;; r
    (if (i32.eq (local.get $c) (i32.const 0x61)) (then ;; a: refused in channels that begin with a
      (return (i64.extend_i32_u (i32.eq (i32.const 0x61)
        (i32.load8_u (i32.add (i32.add (local.get $p) (i32.const 16)) (i32.load16_u offset=4 (local.get $p)))))))))
    (if (i32.eq (local.get $c) (i32.const 0x74)) (then (unreachable))) ;; t
    (if (i32.eq (local.get $c) (i32.const 0x77)) (then (loop $again (br $again)))) ;; w: never ends
    (if (i32.eq (local.get $c) (i32.const 0x7a)) (then (return (call $slice (i32.const 320) (i32.const 8))))) ;; z
    (if (i32.eq (local.get $c) (i32.const 0x73)) (then (return (call $slice (i32.const 256) (i32.const 16))))) ;; s
    (if (i32.eq (local.get $c) (i32.const 0x6e)) (then ;; n: the number of the call
      (memory.copy (i32.const 65536) (i32.const 304) (i32.const 6))
      (i32.store16 (i32.const 65542) (i32.or (i32.add (i32.const 0x30) (global.get $calls)) (i32.const 0x2200)))
      (i32.store8 (i32.const 65544) (i32.const 0x7d))
      (return (call $slice (i32.const 65536) (i32.const 9)))))
    (if (i32.eq (local.get $c) (i32.const 0x65)) (then ;; e: kind and flags as digits, host, channel, id, e-mail
      (local.set $size (i32.add (i32.add (i32.load16_u offset=4 (local.get $p)) (i32.load16_u offset=6 (local.get $p)))
        (i32.add (i32.load16_u offset=8 (local.get $p)) (i32.load16_u offset=10 (local.get $p)))))
      (memory.copy (i32.const 65536) (i32.const 304) (i32.const 6))
      (i32.store8 (i32.const 65542) (i32.add (i32.const 0x30) (i32.load8_u offset=1 (local.get $p))))
      (i32.store8 (i32.const 65543) (i32.add (i32.const 0x30) (i32.load8_u offset=2 (local.get $p))))
      (memory.copy (i32.const 65544) (i32.add (local.get $p) (i32.const 16)) (local.get $size))
      (i32.store16 (i32.add (i32.const 65544) (local.get $size)) (i32.const 0x7d22))
      (return (call $slice (i32.const 65536) (i32.add (local.get $size) (i32.const 10))))))
    (if (i32.eq (local.get $c) (i32.const 0x6c)) (then ;; l: 100,000 bytes
      (memory.copy (i32.const 65536) (i32.const 304) (i32.const 6))
      (memory.fill (i32.const 65542) (i32.const 0x61) (i32.const 99992))
      (i32.store16 (i32.const 165534) (i32.const 0x7d22))
      (return (call $slice (i32.const 65536) (i32.const 100000)))))
    (i64.const 0)))
