package hostile

import (
	"strings"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// behaviour is code that a guest runs somewhere: statements, and the module fields that they need.
type behaviour struct {
	name   string
	do     string
	fields string
	// reasons lists the possible reasons of the failure; if empty, there is no failure.
	reasons []plugins.Reason
}

const (
	budget  = plugins.ReasonBudget
	timeout = plugins.ReasonTimeout
	trap    = plugins.ReasonTrap
	exit    = plugins.ReasonExit
	badness = plugins.ReasonBadResult
)

// endless are behaviours that only a limit ends: few steps with budget, little time with timeout.
// Those that also use up the stack may trap.
var endless = []behaviour{
	{name: "loop", do: `(loop $l (br $l))`},
	{name: "loop with a condition", do: `(loop $l (br_if $l (i32.const 1)))`},
	{name: "loop by br_table", do: `(loop $l (br_table $l $l (i32.const 7)))`},
	{name: "loops in loops", do: `(loop $a (loop $b (loop $c (br_if $c (i32.const 0)) (br_if $b (i32.const 0)) (br $a))))`},
	{name: "loop of one long block", do: `(loop $l ` + strings.Repeat(`(local.set $i (i32.add (local.get $i) (i32.const 3)))`, 3000) +
		` (br $l))`},
	{name: "loop of divisions", do: `(local.set $x (f64.const 3)) (loop $l ` +
		strings.Repeat(`(local.set $x (f64.sqrt (f64.div (local.get $x) (f64.const 1.1))))`, 500) + ` (br $l))`},
	{name: "loop of calls", do: `(loop $l (call $empty) (br $l))`, fields: `(func $empty)`},
	{
		name: "loop of indirect calls", do: `(loop $l (call_indirect (type $void) (i32.const 0)) (br $l))`,
		fields: `(type $void (func)) (table 1 funcref) (elem (i32.const 0) $empty) (func $empty)`,
	},
	{name: "loop of vectors", do: `(loop $l (v128.store (i32.const 1024) (i32x4.mul (v128.load (i32.const 1024))
		(v128.load (i32.const 1040)))) (br $l))`},
	{
		name: "recursion", do: `(call $again)`, fields: `(func $again (call $again) (call $again))`,
		reasons: []plugins.Reason{trap},
	},
	{
		name: "recursion with a large frame", do: `(drop (call $again (i64.const 1)))`,
		fields: `(func $again (param i64) (result i64) (local ` + strings.Repeat("i64 ", 500) + `)
			(local.set 400 (i64.mul (local.get 0) (i64.const 3)))
			(i64.add (call $again (local.get 400)) (i64.add (call $again (local.get 0)) (local.get 400))))`,
		reasons: []plugins.Reason{trap},
	},
	{
		name: "recursion through a table", do: `(call $a)`,
		fields: `(type $void (func)) (table 2 funcref) (elem (i32.const 0) $a $b)
			(func $a (call_indirect (type $void) (i32.const 1)) (call $empty))
			(func $b (call_indirect (type $void) (i32.const 0)) (call $empty)) (func $empty)`,
		reasons: []plugins.Reason{trap},
	},
	{
		name: "Fibonacci numbers", do: `(drop (call $fib (i32.const 90)))`,
		fields: `(func $fib (param $n i32) (result i32)
			(if (i32.lt_u (local.get $n) (i32.const 2)) (then (return (local.get $n))))
			(i32.add (call $fib (i32.sub (local.get $n) (i32.const 1))) (call $fib (i32.sub (local.get $n) (i32.const 2)))))`,
	},
	{name: "memory.grow", do: `(loop $l (drop (memory.grow (i32.const 1))) (br $l))`},
	{name: "memory.grow by nothing", do: `(loop $l (drop (memory.grow (i32.const 0))) (br $l))`},
	{name: "memory.fill", do: `(loop $l (memory.fill (i32.const 0x20000) (i32.const 1) (i32.const 0x1e0000)) (br $l))`},
	{name: "memory.fill of nothing", do: `(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 0)) (br $l))`},
	{
		name: "memory.copy onto itself",
		do:   `(loop $l (memory.copy (i32.const 0x20001) (i32.const 0x20000) (i32.const 0x1d0000)) (br $l))`,
	},
	{
		name:   "memory.init",
		do:     `(loop $l (memory.init $d (i32.const 0x20000) (i32.const 0) (i32.const 60000)) (br $l))`,
		fields: `(data $d "` + strings.Repeat("x", 60_000) + `")`,
	},
	{
		name:   "table.fill",
		do:     `(loop $l (table.fill $t (i32.const 0) (ref.null func) (i32.const 60000)) (br $l))`,
		fields: `(table $t 60000 funcref)`,
	},
	{
		name:   "table.copy",
		do:     `(loop $l (table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 59999)) (br $l))`,
		fields: `(table $t 60000 funcref)`,
	},
	{
		name:   "table.init",
		do:     `(loop $l (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 5000)) (br $l))`,
		fields: `(table $t 60000 funcref) (func $empty) (elem $e func ` + strings.Repeat("$empty ", 5000) + `)`,
	},
	{name: "log lines", do: `(loop $l (call $log (i32.const 3) (i32.const 65536) (i32.const 100)) (br $l))`},
	{name: "log lines of 1 MiB", do: `(loop $l (call $log (i32.const 3) (i32.const 65536) (i32.const 0x100000)) (br $l))`},
	{name: "log lines of nothing", do: `(loop $l (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (br $l))`},
	{name: "standard output", do: iovec(1, 0x10000, 0x100000) +
		`(loop $l (drop (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1016))) (br $l))`},
	{name: "standard error in single bytes", do: iovec(1, 0x10000, 1) +
		`(loop $l (drop (call $fd_write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1016))) (br $l))`},
	{name: "standard output in many parts", do: iovec(200_000, 0x10000, 0x100000) +
		`(loop $l (drop (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 200000) (i32.const 1016))) (br $l))`},
	{
		name: "random bytes for all of memory",
		do:   `(loop $l (drop (call $random_get (i32.const 1024) (i32.const 0x1f0000))) (br $l))`,
	},
	{
		name: "the clock",
		do:   `(loop $l (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 1024))) (br $l))`,
	},
	{name: "yielding", do: `(loop $l (drop (call $sched_yield)) (br $l))`},
	{name: "sleep for hours", do: sleep + `(loop $l ` + poll(1) + ` (br $l))`},
	{name: "sleep for many things", do: sleep +
		`(memory.copy (i32.const 1072) (i32.const 1024) (i32.const 480000))
		(loop $l ` + poll(10_000) + ` (br $l))`},
	{
		name: "the request", do: `(loop $l (drop (call $request (i32.const 0x20000) (i32.const 0x100000))) (br $l))`,
		reasons: []plugins.Reason{trap, badness},
	}, // without a budget
}

// sudden are behaviours that end the call, and attempts that must have no effect.
var sudden = []behaviour{
	{name: "unreachable", do: `(unreachable)`, reasons: []plugins.Reason{trap}},
	{name: "division by zero", do: `(local.set $i (i32.div_u (i32.const 1) (local.get $j)))`, reasons: []plugins.Reason{trap}},
	{
		name: "overflow", do: `(local.set $i (i32.div_s (i32.const 0x80000000) (i32.sub (local.get $j) (i32.const 1))))`,
		reasons: []plugins.Reason{trap},
	},
	{name: "not a number", do: `(local.set $i (i32.trunc_f64_s (f64.const nan)))`, reasons: []plugins.Reason{trap}},
	{name: "load beyond the end", do: `(local.set $i (i32.load (i32.const 0x1fffffd)))`, reasons: []plugins.Reason{trap}},
	{
		name: "load at an address of 33 bits",
		do:   `(local.set $n (i64.load offset=0xffffffff (i32.const 0xffffffff)))`, reasons: []plugins.Reason{trap},
	},
	{
		name: "store at an address of 33 bits",
		do:   `(i64.store offset=0xfffffff8 (i32.const 0xfffffff8) (i64.const -1))`, reasons: []plugins.Reason{trap},
	},
	{
		name: "fill beyond the end", do: `(memory.fill (i32.const 16) (i32.const 0) (i32.const -1))`,
		reasons: []plugins.Reason{trap, budget, timeout},
	},
	{
		name: "copy beyond the end", do: `(memory.copy (i32.const 0x1fffff) (i32.const 0) (i32.const 2))`,
		reasons: []plugins.Reason{trap},
	},
	{
		name: "data that was dropped", do: `(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))`,
		fields: `(data $d "x")`, reasons: []plugins.Reason{trap},
	},
	{
		name: "elements that were dropped", do: `(elem.drop $e) (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))`,
		fields: `(table $t 2 funcref) (func $empty) (elem $e func $empty)`, reasons: []plugins.Reason{trap},
	},
	{
		name: "call of nothing", do: `(call_indirect (type $void) (i32.const 1))`,
		fields: `(type $void (func)) (table 2 funcref)`, reasons: []plugins.Reason{trap},
	},
	{
		name: "call beyond the table", do: `(call_indirect (type $void) (i32.const -1))`,
		fields: `(type $void (func)) (table 2 funcref)`, reasons: []plugins.Reason{trap},
	},
	{
		name: "call by another type", do: `(drop (call_indirect (type $sum) (i32.const 1) (i32.const 0)))`,
		fields:  `(type $sum (func (param i32) (result i64))) (table 2 funcref) (elem (i32.const 0) $empty) (func $empty)`,
		reasons: []plugins.Reason{trap},
	},
	{
		name: "table.get beyond the end", do: `(drop (table.get $t (i32.const 2)))`, fields: `(table $t 2 funcref)`,
		reasons: []plugins.Reason{trap},
	},
	{name: "abort", do: `(call $abort (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2))`, reasons: []plugins.Reason{trap}},
	{
		name: "abort with bad pointers", do: `(call $abort (i32.const -1) (i32.const 0x7fffffff) (i32.const -1) (i32.const -1))`,
		reasons: []plugins.Reason{trap},
	},
	{
		// The length of an AssemblyScript string is in the four bytes before it.
		name: "abort with a text of 4 GiB", do: `(i32.store (i32.const 1020) (i32.const -1)) (i32.store (i32.const 2044) (i32.const -2))
			(call $abort (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 2))`, reasons: []plugins.Reason{trap},
	},
	{name: "exit with 0", do: `(call $proc_exit (i32.const 0))`, reasons: []plugins.Reason{exit}},
	{name: "exit with 3", do: `(call $proc_exit (i32.const 3))`, reasons: []plugins.Reason{exit}},
	{name: "exit with -1", do: `(call $proc_exit (i32.const -1))`, reasons: []plugins.Reason{exit}},
	{
		name: "grow to 4 GiB", do: must(`(i32.eq (memory.grow (i32.const 0xffe0)) (i32.const -1))`) +
			must(`(i32.eq (memory.grow (i32.const -1)) (i32.const -1))`) + must(`(i32.eq (memory.size) (i32.const 32))`),
	},
	{
		name: "grow to the limit and touch all of it", do: `(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
			(local.set $i (i32.mul (memory.size) (i32.const 65536)))
			(loop $l
				(local.set $i (i32.sub (local.get $i) (i32.const 4096)))
				(i32.store8 (local.get $i) (i32.const 1))
				(br_if $l (i32.gt_u (local.get $i) (i32.const 0x200000))))`,
	},
	{name: "sleep once", do: sleep + poll(1)},
	{name: "no arguments", do: must(`(i32.eqz (call $args_sizes_get (i32.const 1024) (i32.const 1028)))`) +
		must(`(i64.eqz (i64.load (i32.const 1024)))`) + `(drop (call $args_get (i32.const 1024) (i32.const 2048)))`},
	{name: "no environment", do: must(`(i32.eqz (call $environ_sizes_get (i32.const 1024) (i32.const 1028)))`) +
		must(`(i64.eqz (i64.load (i32.const 1024)))`) + `(drop (call $environ_get (i32.const -1) (i32.const -1)))`},
	{name: "no files", do: must(`(call $path_open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 11) (i32.const 0)
			(i64.const 2) (i64.const 2) (i32.const 0) (i32.const 2048))`) +
		must(`(call $fd_prestat_get (i32.const 3) (i32.const 1024))`), fields: `(data (i32.const 1024) "/etc/passwd")`},
	{name: "no standard input", do: `(i32.store (i32.const 1016) (i32.const 0))` + iovec(1, 0x10000, 100) +
		`(drop (call $fd_read (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 1016)))` +
		must(`(i32.eqz (i32.load (i32.const 1016)))`)},
	{name: "write to no file", do: iovec(1, 0x10000, 100) +
		must(`(call $fd_write (i32.const 77) (i32.const 1024) (i32.const 1) (i32.const 1016))`)},
	{
		name: "calls of the system with bad pointers", do: `
			(drop (call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 1016)))
			(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const -1)))
			(drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 0x20000000) (i32.const -1)))` + iovec(2, -1, -1) + `
			(drop (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 2) (i32.const -1)))
			(drop (call $fd_read (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1)))
			(drop (call $random_get (i32.const -1) (i32.const 1)))
			(drop (call $random_get (i32.const 0) (i32.const -1)))
			(drop (call $clock_time_get (i32.const -1) (i64.const -1) (i32.const -1)))
			(drop (call $clock_time_get (i32.const 1) (i64.const -1) (i32.const -4)))
			(drop (call $poll_oneoff (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1)))
			(drop (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0x05555556) (i32.const -1)))
			(drop (call $args_sizes_get (i32.const -1) (i32.const -1)))
			(drop (call $environ_sizes_get (i32.const -3) (i32.const -3)))`,
		reasons: []plugins.Reason{"", trap, badness},
	},
	{
		name: "log with a pointer beyond the end", do: `(call $log (i32.const 3) (i32.const -1) (i32.const 10))`,
		reasons: []plugins.Reason{"", trap, badness},
	},
	{
		name: "log with a length that wraps", do: `(call $log (i32.const 3) (i32.const 0x100) (i32.const 0xffffff80))`,
		reasons: []plugins.Reason{"", trap, badness},
	},
	{name: "log of an unknown level", do: `(call $log (i32.const -1) (i32.const 0) (i32.const 10))
		(call $log (i32.const 0x7fffffff) (i32.const 0) (i32.const 10))`, reasons: []plugins.Reason{"", trap, badness}},
	{
		name: "log of bytes that are not text", do: `(call $log (i32.const 2) (i32.const 1024) (i32.const 24))`,
		fields: `(data (i32.const 1024) "\ff\fe\00\01\1b[31m\0a\0d\0ared\ed\a0\80\f8\88\80\80")`,
	},
	{
		name: "request with a pointer beyond the end", do: `(drop (call $request (i32.const -1) (i32.const 0)))
			(drop (call $request (i32.const -16) (i32.const 0x7fffffff)))`, reasons: []plugins.Reason{"", trap, badness},
	},
	{
		name: "request with any capacity", do: `(drop (call $request (i32.const 0x20000) (i32.const 0)))
			(drop (call $request (i32.const 0x20000) (i32.const 1))) (drop (call $request (i32.const 0) (i32.const -1)))`,
		reasons: []plugins.Reason{"", trap, badness},
	},
}

// must returns a statement that traps if the expression is 0.
func must(expression string) string {
	return `(if (i32.eqz ` + expression + `) (then (unreachable)))`
}

// iovec returns a statement that fills memory from address 1024 with n descriptions of the same
// bytes.
func iovec(n, ptr, size int32) string {
	return `(local.set $j (i32.const 1024)) (local.set $i (i32.const ` + decimal(n) + `))
		(loop $fill
			(i32.store (local.get $j) (i32.const ` + decimal(ptr) + `))
			(i32.store offset=4 (local.get $j) (i32.const ` + decimal(size) + `))
			(local.set $j (i32.add (local.get $j) (i32.const 8)))
			(local.set $i (i32.sub (local.get $i) (i32.const 1)))
			(br_if $fill (local.get $i)))`
}

// sleep writes a subscription to an alarm in an hour to address 1024.
const sleep = `(memory.fill (i32.const 1024) (i32.const 0) (i32.const 48)) (i32.store (i32.const 1040) (i32.const 1))
	(i64.store (i32.const 1048) (i64.const 3600000000000))`

// poll returns a statement that waits for n subscriptions.
func poll(n int32) string {
	return `(drop (call $poll_oneoff (i32.const 1024) (i32.const 0x100000) (i32.const ` + decimal(n) + `) (i32.const 1016)))`
}
