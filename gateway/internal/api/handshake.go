package api

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// checkHandshake refuses what is no WebSocket handshake by RFC 6455, section
// 4.2.1. The library checks the same and would answer in plain text, so nothing
// that passes here may fail there.
func checkHandshake(r *http.Request) error {
	h := r.Header
	if r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) ||
		!hasToken(h.Values("Connection"), "upgrade") || !hasToken(h.Values("Upgrade"), "websocket") {
		return &refusal{
			status: http.StatusUpgradeRequired, text: "This endpoint speaks WebSocket only",
			header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
		}
	}
	if h.Get("Sec-WebSocket-Version") != "13" {
		return &refusal{
			status: http.StatusBadRequest, text: "Unsupported WebSocket version, only 13 is supported",
			header: http.Header{"Sec-Websocket-Version": {"13"}},
		}
	}
	keys := h.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return refuse(http.StatusBadRequest, "Sec-WebSocket-Key is missing or not unique")
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(key) != 16 {
		return refuse(http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
