package memory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Format of the records. The last 4 bytes of each value are the CRC-32C of its key and of the bytes
// before them; numbers are big-endian.
//
//   - The key of the head is headKey. Its value is the version of the payloads in the file (1
//     byte), the start and the clock (8 bytes each), the number of runs (4 bytes), and the
//     deployment.
//   - The key of a run is its number (4 bytes), and its value a payload with one run.
//   - The key of sites is their sum (8 bytes) and the number of the part (2 bytes), and their value
//     a payload with this part.
//
// Payloads are those of package message, which checks what it decodes.
const (
	headSize     = 1 + 8 + 8 + 4
	runKeySize   = 4
	sitesKeySize = 8 + 2
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	codec      = message.NewCodec("")
	writer     = message.Sender{DataCenter: "file", Pod: "file"} // of all payloads in a file
)

var (
	errChecksum = errors.New("the checksum is wrong")
	errRecord   = errors.New("not a record of this file")
)

// seal appends the checksum to the value of a record.
func seal(key, value []byte) []byte {
	return binary.BigEndian.AppendUint32(value, checksum(key, value))
}

// unseal returns the value without its checksum.
func unseal(key, sealed []byte) ([]byte, error) {
	n := len(sealed) - crc32.Size
	if n < 0 || binary.BigEndian.Uint32(sealed[n:]) != checksum(key, sealed[:n]) {
		return nil, errChecksum
	}
	return sealed[:n], nil
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// head is the record that every file has.
type head struct {
	version    byte // of the payloads; 0 in a new file
	started    int64
	clock      uint64
	runs       int
	deployment string
}

func encodeHead(h *head) []byte {
	b := append(make([]byte, 0, headSize+len(h.deployment)+crc32.Size), h.version)
	b = binary.BigEndian.AppendUint64(b, uint64(h.started))
	b = binary.BigEndian.AppendUint64(b, h.clock)
	b = binary.BigEndian.AppendUint32(b, uint32(h.runs))
	return seal(headKey, append(b, h.deployment...))
}

// decodeHead decodes the head. Like the other decoders, it takes any bytes and retains none.
func decodeHead(sealed []byte) (head, error) {
	b, err := unseal(headKey, sealed)
	if err != nil {
		return head{}, err
	}
	if len(b) < headSize {
		return head{}, errRecord
	}
	h := head{
		version: b[0], started: int64(binary.BigEndian.Uint64(b[1:])), clock: binary.BigEndian.Uint64(b[9:]),
		runs: int(binary.BigEndian.Uint32(b[17:])), deployment: string(b[headSize:]),
	}
	if h.runs > maxRuns {
		return head{}, errRecord
	}
	return h, nil
}

func runKey(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }

func encodeRun(i int, r *message.Run) ([]byte, error) {
	b, err := codec.Append(nil, "", writer, &message.Runs{Runs: []message.Run{*r}})
	if err != nil {
		return nil, err
	}
	return seal(runKey(i), b), nil
}

func decodeRun(key, value []byte) (message.Run, error) {
	m, err := decode[*message.Runs](key, value)
	if err != nil {
		return message.Run{}, err
	}
	if len(key) != runKeySize || m.List || len(m.Runs) != 1 {
		return message.Run{}, errRecord
	}
	return m.Runs[0], nil
}

func sitesKey(sum uint64, part int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, sum), uint16(part))
}

// sumOf returns the sum in the key of sites.
func sumOf(key []byte) (sum uint64, ok bool) {
	if len(key) != sitesKeySize {
		return 0, false
	}
	return binary.BigEndian.Uint64(key), true
}

// encodeSites returns the values of the parts, and their size.
func encodeSites(sum uint64, sites []message.Site) (values [][]byte, size int, err error) {
	for i, part := range message.SplitSites(&message.Sites{Sum: sum, Sites: sites}) {
		b, err := codec.Append(nil, "", writer, part)
		if err != nil {
			return nil, 0, err
		}
		b = seal(sitesKey(sum, i), b)
		values, size = append(values, b), size+len(b)
	}
	return values, size, nil
}

func decodeSites(key, value []byte) (*message.Sites, error) {
	m, err := decode[*message.Sites](key, value)
	if err != nil {
		return nil, err
	}
	if sum, ok := sumOf(key); !ok || sum != m.Sum || binary.BigEndian.Uint16(key[8:]) != uint16(m.Part) {
		return nil, errRecord
	}
	return m, nil
}

// decode decodes a payload of the file.
func decode[M message.Message](key, value []byte) (m M, err error) {
	b, err := unseal(key, value)
	if err != nil {
		return m, err
	}
	from, decoded, err := codec.Decode("", b)
	if err != nil {
		return m, err
	}
	m, ok := decoded.(M)
	if !ok || from != writer {
		return m, fmt.Errorf("%w: a payload of another kind", errRecord)
	}
	return m, nil
}
