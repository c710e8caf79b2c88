package command

import (
	"respgate/engine/command/internal/namehash"
	"respgate/engine/resp"
)

// findSort finds the key of SORT and, anywhere after it, the last STORE's. Keys that BY and GET patterns name depend on the data: the server
// looks for them in its own group only.
func findSort(dst []int32, frame []byte, args []resp.Span) ([]int32, bool) {
	if len(args) < 2 {
		return dst, false
	}
	stored := 0
	for i := 2; i < len(args); i++ {
		arg := args[i].Of(frame)
		switch {
		case namehash.EqualFold(arg, "limit"):
			i += 2
		case namehash.EqualFold(arg, "get"), namehash.EqualFold(arg, "by"):
			i++
		case namehash.EqualFold(arg, "store") && i+1 < len(args):
			i++
			stored = i
		}
	}
	return appendStored(append(dst, 1), stored), true
}

// findGeoradius finds the key of GEORADIUS and GEORADIUSBYMEMBER and that of the last STORE or STOREDIST. The first five arguments are never
// options: a member may be called "store".
func findGeoradius(dst []int32, frame []byte, args []resp.Span) ([]int32, bool) {
	if len(args) < 2 {
		return dst, false
	}
	stored := 0
	for i := 5; i+1 < len(args); i++ {
		arg := args[i].Of(frame)
		if namehash.EqualFold(arg, "store") || namehash.EqualFold(arg, "storedist") {
			i++
			stored = i
		}
	}
	return appendStored(append(dst, 1), stored), true
}

func appendStored(dst []int32, stored int) []int32 {
	if stored == 0 {
		return dst
	}
	return append(dst, int32(stored))
}

// findMigrate finds the keys of MIGRATE: the third argument, or, if that is empty, those after KEYS. Without KEYS the empty argument is the key.
func findMigrate(dst []int32, frame []byte, args []resp.Span) ([]int32, bool) {
	if len(args) < 4 {
		return dst, false
	}
	for i := 6; i < len(args) && args[3].Len == 0; i++ {
		arg := args[i].Of(frame)
		switch {
		case namehash.EqualFold(arg, "keys"):
			return appendRange(dst, i+1, -1, 1, len(args))
		case namehash.EqualFold(arg, "auth"):
			i++
		case namehash.EqualFold(arg, "auth2"):
			i += 2
		}
	}
	return append(dst, 3), true
}
