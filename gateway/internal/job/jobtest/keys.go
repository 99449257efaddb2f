package jobtest

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

func testKeys(t *testing.T, open func(*testing.T) Store) {
	key := job.Key{Scope: "", Name: "order 4711 'x' \"y\" %"}
	keyed := func(t *testing.T, s Store, k job.Key) *job.Job {
		t.Helper()
		j, err := s.Keyed(t.Context(), k)
		ok(t, err)
		return j
	}
	reserve := func(t *testing.T, s Store, k job.Key) *job.Job {
		t.Helper()
		l := lease("a", at(15))
		j := leased(inlineJob(1, t0), l)
		ok(t, s.Reserve(t.Context(), j.ID, l, k))
		return j
	}

	t.Run("a key leads to its job", func(t *testing.T) {
		s := open(t)
		_, err := s.Keyed(t.Context(), key)
		wantErr(t, err, job.ErrNotFound)
		j := reserve(t, s, key)
		if got := keyed(t, s, key); got.ID != j.ID || got.Status != job.Receiving {
			t.Fatalf("while the job is being received, the key returns %+v", got)
		}
		j.Fingerprint = "f0"
		create(t, s, j)
		want := get(t, s, j.ID)
		want.Images = nil
		same(t, "keyed", keyed(t, s, key), want)
		same(t, "fingerprint", want.Fingerprint, "f0")
		settleAll(t, s, j, at(1))
		same(t, "status when it has ended", keyed(t, s, key).Status, job.Completed)
	})
	t.Run("no other job gets the key", func(t *testing.T) {
		s := open(t)
		j := reserve(t, s, key)
		second := func() error { return s.Reserve(t.Context(), newID(), lease("b", at(15)), key) }
		wantErr(t, second(), job.ErrKeyTaken)
		create(t, s, j)
		wantErr(t, second(), job.ErrKeyTaken)
		settleAll(t, s, j, at(1))
		wantErr(t, second(), job.ErrKeyTaken)
		givesIDs(t, "left by a rejected reservation", []string{})(s.Claim(t.Context(), "c", at(99), at(114), 9))
	})
	t.Run("requests without a key are independent", func(t *testing.T) {
		s := open(t)
		reserve(t, s, job.Key{})
		reserve(t, s, job.Key{})
		create(t, s, inlineJob(1, t0))
		_, err := s.Keyed(t.Context(), job.Key{})
		wantErr(t, err, job.ErrNotFound)
	})
	t.Run("each scope has its own keys", func(t *testing.T) {
		s := open(t)
		other := job.Key{Scope: "other", Name: key.Name}
		mine, theirs := reserve(t, s, key), reserve(t, s, other)
		same(t, "mine", keyed(t, s, key).ID, mine.ID)
		same(t, "theirs", keyed(t, s, other).ID, theirs.ID)
	})
	t.Run("releasing the reservation frees the key", func(t *testing.T) {
		s := open(t)
		j := reserve(t, s, key)
		claimed, err := s.Claim(t.Context(), "b", at(16), at(31), 9) // after the gateway has died
		ok(t, err)
		wantErr(t, s.Reserve(t.Context(), newID(), lease("c", at(40)), key), job.ErrKeyTaken)
		ok(t, s.Release(t.Context(), j.ID, claimed[0].Lease))
		_, err = s.Keyed(t.Context(), key)
		wantErr(t, err, job.ErrNotFound)
		next := reserve(t, s, key)
		same(t, "the next holder", keyed(t, s, key).ID, next.ID)
	})
	t.Run("hiding the job frees the key", func(t *testing.T) {
		s := open(t)
		j := create(t, s, reserve(t, s, key))
		settleAll(t, s, j, at(1))
		_, err := s.Hide(t.Context(), at(2), 9)
		ok(t, err)
		_, err = s.Keyed(t.Context(), key)
		wantErr(t, err, job.ErrNotFound)
		again := create(t, s, reserve(t, s, key))
		settleAll(t, s, again, at(3))
		_, err = s.Hide(t.Context(), at(4), 9) // two hidden jobs have the key now
		ok(t, err)
		ok(t, s.Delete(t.Context(), j.ID))
		ok(t, s.Delete(t.Context(), again.ID))
	})
	t.Run("one of many concurrent requests gets the key", func(t *testing.T) {
		s := open(t)
		var won, refused atomic.Int32
		each(t, 50, func(int) error {
			switch err := s.Reserve(t.Context(), newID(), lease("a", at(15)), key); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, job.ErrKeyTaken):
				refused.Add(1)
			default:
				return err
			}
			return nil
		})
		if won.Load() != 1 || refused.Load() != 49 {
			t.Fatalf("%d got the key, %d were refused", won.Load(), refused.Load())
		}
	})
}
