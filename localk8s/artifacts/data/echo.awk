# Turns an HTTP request, given as decimal bytes, into an HTTP answer with a JSON object. Every character that is not plain
# ASCII is escaped, so that characters and bytes count the same; bytes that are no UTF-8 become U+FFFD.
function unit(code) { return sprintf("\\u%04x", code) }
function put(code) {
  if (code == 34) text = text "\\\""
  else if (code == 92) text = text "\\\\"
  else if (code == 10) text = text "\\n"
  else if (code == 13) text = text "\\r"
  else if (code == 9) text = text "\\t"
  else if (code < 32 || code == 127) text = text unit(code)
  else if (code < 127) text = text plain[code]
  else if (code < 65536) text = text unit(code)
  else text = text unit(55296 + int((code - 65536) / 1024)) unit(56320 + (code - 65536) % 1024)
}
# One byte of UTF-8; code collects a character of which `missing` bytes are still to come, at least `least` when whole.
function decode(byte) {
  if (missing > 0) {
    if (byte >= 128 && byte < 192) {
      code = code * 64 + byte - 128
      if (--missing == 0) put((code < least || code > 1114111 || (code >= 55296 && code < 57344)) ? 65533 : code)
      return
    }
    missing = 0
    put(65533)
  }
  if (byte < 128) put(byte)
  else if (byte >= 194 && byte < 224) { missing = 1; code = byte - 192; least = 128 }
  else if (byte >= 224 && byte < 240) { missing = 2; code = byte - 224; least = 2048 }
  else if (byte >= 240 && byte < 245) { missing = 3; code = byte - 240; least = 65536 }
  else put(65533)
}
function finish() {
  if (missing > 0) put(65533)
  missing = 0
  result = text
  text = ""
  return result
}
# The text of an environment variable, escaped; it is the cluster's own and plain.
function own(value) { gsub(/[^A-Za-z0-9._:-]/, "?", value); return "\"" value "\"" }
# One byte of the request line or of a header. Blanks are held back until something follows them, so that none are left
# around a value; a line that begins with one goes on with the last header.
function header_byte(byte) {
  if (byte == 10) end_of_line()
  else if (byte == 32 || byte == 9) {
    if (missing > 0) decode(32)
    else if (text != "") held = held (byte == 9 ? "\\t" : " ")
    else if (!named) folded = 1
  } else if (byte == 58 && lines && !named && !folded) { name = finish(); named = 1; held = "" }
  else { text = text held; held = ""; decode(byte) }
}
function end_of_line() {
  line = finish()
  if (line == "" && !named && !folded) in_body = 1
  else if (!lines++) request = line
  else if (folded) { if (last != "") values[last] = values[last] " " line }
  else if (named && name != "") keep(tolower(name))
  named = folded = 0
  held = ""
}
function keep(key) {
  last = key
  if (key in values) { values[key] = values[key] ", " line; return }
  values[key] = line
  names[++count] = name
}
BEGIN { for (i = 32; i < 127; i++) plain[i] = sprintf("%c", i) }
{
  for (i = 1; i <= NF; i++) {
    if (in_body) { decode($i + 0); if (length(text) > 4096) { body = body text; text = "" } }
    else header_byte($i + 0)
  }
}
END {
  body = body finish()
  parts = split(request, word, " ")
  if (parts != 3 || word[3] !~ /^HTTP\/[0-9.]+$/) { word[3] = "HTTP/1.0"; if (fault == "") fault = 400 }
  status = fault == "" ? "200 OK" : fault == 431 ? "431 Request Header Fields Too Large" : "400 Bad Request"
  json = "{\n"
  json = json "  \"pod\": " own(ENVIRON["POD_NAME"] == "" ? ENVIRON["HOSTNAME"] : ENVIRON["POD_NAME"]) ",\n"
  json = json "  \"namespace\": " own(ENVIRON["POD_NAMESPACE"]) ",\n"
  json = json "  \"node\": " own(ENVIRON["NODE_NAME"]) ",\n"
  json = json "  \"client\": " own(ENVIRON["TCPREMOTEIP"]) ",\n"
  json = json "  \"method\": \"" word[1] "\",\n  \"path\": \"" word[2] "\",\n  \"protocol\": \"" word[3] "\",\n"
  json = json "  \"headers\": {"
  for (i = 1; i <= count; i++) json = json (i > 1 ? "," : "") "\n    \"" names[i] "\": \"" values[tolower(names[i])] "\""
  json = json (count ? "\n  },\n" : "},\n") "  \"body\": \"" body "\"\n}\n"
  printf "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", status, length(json)
  if (word[1] != "HEAD") printf "%s", json
}
