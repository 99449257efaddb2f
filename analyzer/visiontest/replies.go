package visiontest

import (
	"encoding/json"
	"maps"
	"net/http"
)

// The texts of [Default].
const (
	Title       = "Red disk"
	Description = "A red disk lies in the middle of a light gray square."
	AltText     = "A red disk on a light gray background."
)

// Default is a good answer: 300 prompt tokens, 60 completion tokens, and the keywords disk, red and shape.
func Default(w http.ResponseWriter, r *http.Request, q Request) {
	Answer(Title, Description, []string{"disk", "red", "shape"}, AltText)(w, r, q)
}

// Answer answers with the four fields.
func Answer(title, description string, keywords []string, altText string) Reply {
	content, _ := json.Marshal(map[string]any{"title": title, "description": description, "keywords": keywords, "alt_text": altText})
	return Content(string(content))
}

// Content answers with a text.
func Content(text string) Reply { return Message(map[string]any{"content": text}, "stop") }

// Message answers with the members of a message, in addition to its role, and a finish_reason.
func Message(members map[string]any, finishReason string) Reply {
	return func(w http.ResponseWriter, r *http.Request, q Request) {
		message := map[string]any{"role": "assistant", "refusal": nil}
		maps.Copy(message, members)
		body, _ := json.Marshal(map[string]any{
			"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": q.Model,
			"choices": []any{map[string]any{"index": 0, "message": message, "logprobs": nil, "finish_reason": finishReason}},
			"usage":   map[string]any{"prompt_tokens": 300, "completion_tokens": 60, "total_tokens": 360},
		})
		Status(http.StatusOK, string(body))(w, r, q)
	}
}

// Status replies with a status, a body and headers, which are pairs of a name and a value.
func Status(code int, body string, headers ...string) Reply {
	return func(w http.ResponseWriter, _ *http.Request, _ Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body)) // The client may be gone.
	}
}

// Error replies with an error in OpenAI's form.
func Error(code int, message, kind, param, errorCode string, headers ...string) Reply {
	body, _ := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": kind, "param": param, "code": errorCode}})
	return Status(code, string(body), headers...)
}

// Unsupported replies as OpenAI does to a member that a model does not know.
func Unsupported(param string) Reply {
	return Error(http.StatusBadRequest, "Unsupported parameter: '"+param+"' is not supported with this model.", "invalid_request_error", param, "unsupported_parameter")
}

// NoPictures replies as llama.cpp's server does without a projector if the request has an image, and otherwise well.
func NoPictures(w http.ResponseWriter, r *http.Request, q Request) {
	if q.Picture == nil {
		Default(w, r, q)
		return
	}
	Status(http.StatusInternalServerError, `{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}}`)(w, r, q)
}

// Hang replies only when the client gives up.
func Hang(_ http.ResponseWriter, r *http.Request, _ Request) { <-r.Context().Done() }

// Drop closes the connection without a response.
func Drop(http.ResponseWriter, *http.Request, Request) { panic(http.ErrAbortHandler) }
