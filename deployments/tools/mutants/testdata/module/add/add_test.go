package add

import "testing"

func TestAdd(t *testing.T) {
	t.Run("positive", func(t *testing.T) {
		if Add(2, 1) != 3 {
			t.Error("2 + 1 is not 3")
		}
	})
	t.Run("negative", func(t *testing.T) {
		if Add(-2, -1) != -3 {
			t.Error("-2 + -1 is not -3")
		}
	})
}

func TestSubtract(t *testing.T) { t.Skip("some other day") }
