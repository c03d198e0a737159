;; Has all hooks and fails in each.
(module
  (memory (export "memory") 1)
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32) (i32.const 0x400))
  (func (export "rollcall_classify") (param i32 i32) (result i64) (unreachable))
  (func (export "rollcall_authorize") (param i32 i32) (result i64) (unreachable))
  (func (export "rollcall_members") (param i32 i32 i32) (result i64) (unreachable))
  (func (export "rollcall_shape") (param i32 i32 i32) (result i64) (unreachable)))
