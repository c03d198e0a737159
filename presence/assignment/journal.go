package assignment

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
	"github.com/rollcall-gateway/rollcall/presence"
)

// journal has changes that are durable, and not yet in the database: a change costs one write and
// one sync, where a transaction writes several pages and syncs twice.
//
// After a header with its ID, the file has two areas, for generations of changes in turn. Each
// write appends a frame. When an area is full, the next generation begins in the other one, and the
// full one is written to the database in one transaction, which also sets the number of the
// generation. So whenever a process is killed, each change is in the database or in a generation
// that the database does not know. The file has its full size from the start, so that a sync need
// not write the size.
//
// Its methods are not safe for concurrent use, except for records of a generation that is full.
type journal struct {
	path    string
	file    *os.File
	id      uint64
	areas   [2]area
	gen     uint64 // generation that grows, in the area gen%2
	done    uint64 // last generation that is in the database
	damaged int    // number of places that could not be read
}

// area is a generation of a journal.
type area struct {
	gen uint64
	end int64 // number of bytes of its frames
	// before is the end of the generation before, as the frames say.
	before int64
}

const (
	journalExt  = ".journal"
	journalHead = 4096 // size of the header; the ID is at its start
	areaSize    = 1 << 20
	// frameHead is the size of what precedes the records of a frame: ID (8 bytes), generation, end
	// of the generation before, length of the records and CRC-32C of the rest (4 bytes each,
	// big-endian).
	frameHead = 8 + 4 + 4 + 4 + 4
	// maxFrame is the size up to which changes go to the journal.
	maxFrame = areaSize / 2
)

// makeJournal makes the file of a new journal, with a new ID. The file gets its name when it is
// whole.
func makeJournal(path string) (*journal, error) {
	name := path + ".new"
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{path: path, file: file, gen: 1}
	j.areas[1] = area{gen: 1}
	content := make([]byte, journalHead+len(j.areas)*areaSize)
	_, _ = rand.Read(content[:8]) // never fails
	j.id = binary.BigEndian.Uint64(content)
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(name))
	}
	if err := boltfile.SyncFolder(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	return j, nil
}

// openJournal opens a journal that a process left; nil if there is none. It finds the generations
// after done of the journal with the ID; all of any journal, if id is 0.
func openJournal(path string, id, done uint64) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := &journal{path: path, file: file, id: id, done: done}
	content := make([]byte, journalHead+len(j.areas)*areaSize)
	n, err := file.ReadAt(content, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, file.Close())
	}
	head := binary.BigEndian.Uint64(content)
	if id == 0 {
		j.id = head
		for i := range j.areas { // frames have it, too, if the header is damaged
			area := content[journalHead+i*areaSize:][:areaSize]
			if _, ok := readFrame(area); ok {
				j.id = binary.BigEndian.Uint64(area)
			}
		}
	}
	for i := range j.areas {
		a, damaged := findFrames(content[journalHead+i*areaSize:][:areaSize], j.id, nil)
		j.areas[i], j.gen = a, max(j.gen, a.gen)
		if a.gen > done {
			j.damaged += damaged
		}
	}
	if grows := j.areas[j.gen%2]; j.gen > done+1 && j.areas[(j.gen+1)%2].end != grows.before {
		j.damaged++ // the full generation has lost its last frames, which were durable
	}
	switch {
	case n == len(content) && head != 0 && head != j.id && j.gen == 0:
		return nil, file.Close() // of a database that a backup has replaced
	case head == 0 || head != j.id || n < len(content),
		id == 0 && j.gen == 0 && len(bytes.Trim(content[journalHead:], "\x00")) > 0:
		j.damaged++
	}
	return j, nil
}

// findFrames calls take with the records of each frame of the last generation in an area, and
// returns that generation. Frames of the one before follow the end of the last one. damaged is the
// number of places between frames that cannot be read; if the last frame cannot, its process was
// killed before it was durable.
func findFrames(content []byte, id uint64, take func(records []byte)) (a area, damaged int) {
	want := binary.BigEndian.AppendUint64(nil, id)
	for at := 0; ; {
		i := bytes.Index(content[at:], want)
		if i < 0 {
			return a, damaged
		}
		at += i
		records, ok := readFrame(content[at:])
		switch {
		case !ok:
			at++
			continue
		case a.gen == 0:
			want = append(want, content[at+8:][:8]...)
			a.gen = uint64(binary.BigEndian.Uint32(want[8:]))
			a.before = int64(binary.BigEndian.Uint32(want[12:]))
		}
		if int64(at) != a.end {
			damaged++
		}
		if at += frameHead + len(records); take != nil {
			take(records)
		}
		a.end = int64(at)
	}
}

// readFrame reads a frame. The records are a part of b.
func readFrame(b []byte) (records []byte, ok bool) {
	if len(b) < frameHead {
		return nil, false
	}
	length := uint64(binary.BigEndian.Uint32(b[16:]))
	if length > uint64(len(b)-frameHead) {
		return nil, false
	}
	records = b[frameHead:][:length]
	return records, binary.BigEndian.Uint32(b[20:]) == checksum(b[:20], records)
}

// appendFrame appends a frame with the records to b. What precedes them is zero until
// [journal.append].
func appendFrame(b []byte, records []Record) []byte {
	b = append(b, make([]byte, frameHead)...)
	for i := range records {
		key := appendKey(nil, &records[i])
		value := encodeValue(key, &records[i])
		b = binary.AppendUvarint(b, uint64(len(key)))
		b = append(b, key...)
		b = binary.AppendUvarint(b, uint64(len(value)))
		b = append(b, value...)
	}
	return b
}

// decodeFrame calls take with each record. It returns an error, after those before, if the rest is
// not a record.
func decodeFrame(b []byte, take func(r Record)) error {
	var host presence.HostName // last host: many records share its text
	for len(b) > 0 {
		key, rest, ok := cutField(b)
		value, rest, whole := cutField(rest)
		if !ok || !whole {
			return errEntry
		}
		r, err := decode(key, value, entryVersion)
		if err != nil {
			return err
		}
		if r.Host == host {
			r.Host = host
		}
		host, b = r.Host, rest
		take(r)
	}
	return nil
}

// cutField cuts off a field that follows its length.
func cutField(b []byte) (field, rest []byte, ok bool) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n:][:length], b[n:][length:], true
}

// fits reports whether the area has room for the frame.
func (j *journal) fits(frame []byte) bool {
	return j.areas[j.gen%2].end+int64(len(frame)) <= areaSize
}

// append makes a frame durable. It must fit. After an error, the journal takes no more.
func (j *journal) append(frame []byte) error {
	binary.BigEndian.PutUint64(frame, j.id)
	binary.BigEndian.PutUint32(frame[8:], uint32(j.gen))
	binary.BigEndian.PutUint32(frame[12:], uint32(j.areas[(j.gen+1)%2].end))
	binary.BigEndian.PutUint32(frame[16:], uint32(len(frame)-frameHead))
	binary.BigEndian.PutUint32(frame[20:], checksum(frame[:20], frame[frameHead:]))
	a := &j.areas[j.gen%2]
	at := j.offset(a.gen) + a.end
	_, err := j.file.WriteAt(frame, at)
	if err == nil {
		err = syncData(j.file)
	}
	if err != nil {
		_, _ = j.file.WriteAt(make([]byte, frameHead), at) // so that the change is not found after the next start
		return err
	}
	a.end += int64(len(frame))
	return nil
}

// offset returns where the area of a generation begins.
func (j *journal) offset(gen uint64) int64 { return journalHead + int64(gen%2)*areaSize }

// next begins the next generation. The one before the present one must be in the database.
func (j *journal) next() {
	j.gen++
	j.areas[j.gen%2] = area{gen: j.gen}
}

// records returns the records of a generation.
func (j *journal) records(gen uint64) (list []Record, err error) {
	a := j.areas[gen%2]
	content := make([]byte, a.end)
	if _, err := j.file.ReadAt(content, j.offset(gen)); err != nil {
		return nil, err
	}
	_, _ = findFrames(content, j.id, func(records []byte) {
		err = cmp.Or(err, decodeFrame(records, func(r Record) { list = append(list, r) }))
	})
	if err != nil { // its checksum is right
		err = fmt.Errorf("%s has a record of another Rollcall: use the one that wrote it, or move the file away: %w", j.path, err)
	}
	return list, err
}

// waiting returns the generations that are not in the database, the oldest first.
func (j *journal) waiting() (list []uint64) {
	for _, a := range j.areas {
		if a.gen > j.done && a.end > 0 {
			list = append(list, a.gen)
		}
	}
	slices.Sort(list)
	return list
}

// close closes the file, and removes it if all of it is in the database. One with damaged frames is
// kept under another name, unless there is one already.
func (j *journal) close() (kept string, err error) {
	err = j.file.Close()
	if len(j.waiting()) > 0 {
		return "", err
	}
	if kept = j.path + boltfile.DamagedExt; j.damaged > 0 {
		if _, failed := os.Lstat(kept); errors.Is(failed, fs.ErrNotExist) {
			if failed := os.Rename(j.path, kept); failed != nil {
				return "", errors.Join(err, failed)
			}
			return kept, err
		}
	}
	return "", errors.Join(err, os.Remove(j.path))
}
