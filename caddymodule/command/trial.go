package command

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// trialTimeout is the default time of a call in a trial. The steps are the measure there: the clock
// of an author's machine, perhaps busy with a compiler, says nothing about the server.
const trialTimeout = 10 * time.Second

// pluginFlags adds the flags of commands that load a plugin: the options of the plugin block that
// matter to one call.
func pluginFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.String("host", "example.com", "Domain host that the plugin works for")
	f.String("config", "", "File with the config block as JSON (default: no config block)")
	f.String("name", "", "Name of the plugin (default: the file's name without .wasm)")
	f.String("sha256", "", "Hash that the file must have, in hexadecimal")
	f.Bool("grants", false, "The plugin may grant channels")
	f.String("memory", "16MiB", "Maximum memory of an instance")
	f.String("file", "16MiB", "Maximum size of the file")
	f.String("document", "256KiB", "Maximum answer for the hook shape")
	f.String("kv", "1MiB", "Size of the store")
	f.Int64("init-budget", plugins.DefaultInitBudget, "Steps for making an instance")
	f.Int64("classify-budget", plugins.DefaultClassifyBudget, "Steps for classify, and for authorize")
	f.Int64("connect-budget", plugins.DefaultConnectBudget, "Steps for connect")
	f.Int64("message-budget", plugins.DefaultMessageBudget, "Steps for message, above 100 for each byte")
	f.Int64("members-budget", plugins.DefaultMembersBudget, "Steps for each user in members, above 1000000 a batch")
	f.Int64("shape-budget", plugins.DefaultShapeBudget, "Steps for shape")
	f.Duration("classify-timeout", trialTimeout, "Time for classify, and for authorize; 5ms in the server")
	f.Duration("message-timeout", trialTimeout, "Time for connect, message, and a batch of members for browsers; 10ms in the server")
	f.Duration("shape-timeout", trialTimeout, "Time for a batch of members, and for shape; 250ms in the server")
}

// pluginTrial is a plugin that is loaded without a server.
type pluginTrial struct {
	spec     plugins.Spec
	host     string
	engine   *plugins.Engine
	plugin   *plugins.Plugin
	chain    *plugins.Chain
	counters plugins.Counters
	loaded   time.Duration // time of reading, checking and compiling
}

// openTrial loads the file with the flags of the command and makes the first instance. It stores no
// compiled code on disk. The profile may be nil.
func openTrial(cmd *cobra.Command, file string, profile *plugins.Profile) (*pluginTrial, error) {
	t := &pluginTrial{spec: plugins.Spec{Path: file}}
	if err := t.readFlags(cmd); err != nil {
		return nil, err
	}
	if err := t.load(cmd, plugins.EngineConfig{Profile: profile}); err != nil {
		return nil, err
	}
	return t, nil
}

// load loads the plugin and makes its first instance.
func (t *pluginTrial) load(cmd *cobra.Command, config plugins.EngineConfig) error {
	t.spec.Logger = trialLogger(cmd.ErrOrStderr())
	t.spec.Counters = func(string) *plugins.Counters { return &t.counters }
	config.Logger = t.spec.Logger
	engine, err := plugins.NewEngine(config)
	if err != nil {
		return err
	}
	t.engine = engine
	start := time.Now()
	t.plugin, err = engine.Load(cmd.Context(), t.spec)
	if err != nil {
		_ = engine.Close()
		return err
	}
	t.loaded = time.Since(start)
	t.chain = plugins.NewChain(t.plugin)
	if err := t.plugin.Try(cmd.Context(), t.host); err != nil {
		t.close()
		return err
	}
	config.Profile.Reset() // making an instance is no part of a call
	return nil
}

func (t *pluginTrial) close() {
	t.chain.Release()
	_ = t.engine.Close() // the error does not matter to a process that ends
}

func (t *pluginTrial) readFlags(cmd *cobra.Command) error {
	f := cmd.Flags()
	name, err := f.GetString("host")
	if err != nil {
		return err
	}
	host, err := presence.ParseHostName(name)
	if err != nil {
		return fmt.Errorf("--host %q: %w", name, err)
	}
	t.host = host.String()
	t.spec.Name, _ = f.GetString("name")
	t.spec.SHA256, _ = f.GetString("sha256")
	if config, _ := f.GetString("config"); config != "" {
		raw, err := os.ReadFile(config)
		if err != nil {
			return fmt.Errorf("--config: %w", err)
		}
		if !json.Valid(raw) {
			return fmt.Errorf("--config %s: not JSON", config)
		}
		t.spec.Config = raw
	}
	if grants, _ := f.GetBool("grants"); grants {
		t.spec.CheckGrants = token.CheckGrants
	}
	for _, size := range []struct {
		flag string
		to   *int64
	}{{"memory", &t.spec.Limits.Memory}, {"file", &t.spec.Limits.File}, {"document", &t.spec.Limits.Document}, {"kv", &t.spec.Limits.KV}} {
		text, _ := f.GetString(size.flag)
		n, err := humanize.ParseBytes(text)
		if err != nil || n < 1 || n > 1<<30 {
			return fmt.Errorf("--%s: %q is not a size up to 1GiB like 64KiB", size.flag, text)
		}
		*size.to = int64(n)
	}
	t.spec.Limits.InitBudget, _ = f.GetInt64("init-budget")
	t.spec.Limits.ClassifyBudget, _ = f.GetInt64("classify-budget")
	t.spec.Limits.ConnectBudget, _ = f.GetInt64("connect-budget")
	t.spec.Limits.MessageBudget, _ = f.GetInt64("message-budget")
	t.spec.Limits.MembersBudget, _ = f.GetInt64("members-budget")
	t.spec.Limits.ShapeBudget, _ = f.GetInt64("shape-budget")
	t.spec.Limits.ClassifyTimeout, _ = f.GetDuration("classify-timeout")
	t.spec.Limits.MessageTimeout, _ = f.GetDuration("message-timeout")
	t.spec.Limits.ShapeTimeout, _ = f.GetDuration("shape-timeout")
	return t.spec.Limits.Validate()
}

// steps returns the number of steps that the calls of a hook have used.
func (t *pluginTrial) steps(h plugins.Hook) uint64 { return t.counters.Read().StepsSum[h] }

// trialLogger writes a plugin's log as lines of level and text, for people.
func trialLogger(w io.Writer) *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{
		LevelKey: "level", MessageKey: "msg", EncodeLevel: zapcore.LowercaseLevelEncoder, ConsoleSeparator: " ",
		EncodeDuration: zapcore.StringDurationEncoder,
	})
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zap.DebugLevel))
}
