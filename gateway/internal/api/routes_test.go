package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/console"
)

// TestTable verifies that Echo serves exactly the routes of the table, and that the
// responses with 405 and Allow follow from the table.
func TestTable(t *testing.T) {
	r := setup(t, options{ops: ops})
	methods := map[string][]string{} // methods by path
	for _, row := range r.api.Table() {
		chunk := console.Files()[row.Path[1:]]
		other := row.Access&api.Probe != 0 || chunk != nil && chunk.Digested
		if want := row.Path; row.Label != want && (row.Label != "other" || !other) {
			t.Errorf("%s %s has the label %s", row.Method, row.Path, row.Label)
		}
		switch row.Method {
		case http.MethodGet:
			methods[row.Path] = append(methods[row.Path], "GET", "HEAD")
		case "":
		default:
			methods[row.Path] = append(methods[row.Path], row.Method)
		}
	}
	for _, route := range r.api.Routes() {
		all, known := methods[route.Path]
		isProbe := slices.ContainsFunc(r.api.Table(), func(row api.Route) bool { return row.Method == "" && row.Path == route.Path })
		if !isProbe && (!known || !slices.Contains(all, route.Method)) && route.Method != echo.RouteNotFound {
			t.Errorf("%s %s is not in the table", route.Method, route.Path)
		}
	}
	for path, all := range methods {
		path = strings.NewReplacer(":job_id", unknown, ":index", "0").Replace(path)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "BREW"} {
			got := r.do(method, path, nil)
			if has := slices.Contains(all, method); has == (got.status == http.StatusMethodNotAllowed) {
				t.Errorf("%s %s: got %d", method, path, got.status)
			} else if !has {
				allow := strings.Split(got.header.Get("Allow"), ", ")
				slices.Sort(allow)
				want := slices.Sorted(slices.Values(append([]string{"OPTIONS"}, all...)))
				if fmt.Sprint(allow) != fmt.Sprint(want) {
					t.Errorf("%s %s: got Allow %v, want %v", method, path, allow, want)
				}
			}
		}
	}
}
