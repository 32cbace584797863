#!/bin/sh
# Reads one HTTP request on standard input, byte by byte so that nothing behind it is taken, and has echo.awk answer it.
# The shell only frames: whatever was sent goes on as numbers, so no byte of it is ever read as code or as a format.
most_lines=200
most_body=262144
silence=15
longest=60
answer() { od -An -v -tu1 | awk -v fault="$1" -f /usr/lib/localk8s/echo.awk; }
read_line() {
  IFS= read -r -t "$silence" line || return 1
  line=${line%"$cr"}
}
cr=$(printf '\r')
size=0 chunked= count=0 head= continue= too_many=

read_line || exit 0
head=$line
while read_line && [ -n "$line" ]; do
  count=$((count + 1))
  if [ "$count" -gt "$most_lines" ] || [ "${#head}" -gt 65536 ]; then
    too_many=1
    continue
  fi
  head="$head
$line"
  case $line in
  [Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][Nn][Gg][Tt][Hh]:*) size=${line#*:} ;;
  [Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-[Ee][Nn][Cc][Oo][Dd][Ii][Nn][Gg]:*[Cc][Hh][Uu][Nn][Kk][Ee][Dd]*) chunked=1 ;;
  [Ee][Xx][Pp][Ee][Cc][Tt]:*100-[Cc][Oo][Nn][Tt][Ii][Nn][Uu][Ee]*) continue=1 ;;
  esac
done

# Closing on bytes that nobody read would take the answer back: they are read and dropped, here and below.
if [ -n "$too_many" ]; then
  printf '%s\n\n' "$head" | answer 431
  timeout 1 cat >/dev/null
  exit 0
fi
blank=$(printf ' \t')
size=${size#"${size%%[!$blank]*}"}
size=${size%"${size##*[!$blank]}"}
case $size in
'' | *[!0-9]* | ???????????*)
  printf '%s\n\n' "$head" | answer 400
  timeout 1 cat >/dev/null
  exit 0
  ;;
esac
size=${size#"${size%%[!0]*}"} # a zero in front would make it an octal number
size=${size:-0}
[ -z "$continue" ] || printf 'HTTP/1.1 100 Continue\r\n\r\n'

# Passes on that many bytes and reads not one more: another chunk may follow.
take() {
  whole=$(($1 / 65536)) rest=$(($1 % 65536))
  [ "$whole" -eq 0 ] || timeout "$longest" dd bs=65536 count="$whole" iflag=fullblock 2>/dev/null
  [ "$rest" -eq 0 ] || timeout "$longest" dd bs="$rest" count=1 iflag=fullblock 2>/dev/null
}
read_chunks() {
  while read_line; do
    length=${line%%[!0-9a-fA-F]*}
    case $length in '' | ????????*) return ;; esac
    length=$((0x$length))
    [ "$length" -gt 0 ] || break
    take "$length"
    read_line || return
  done
  while read_line && [ -n "$line" ]; do :; done
}
read_body() {
  if [ -n "$chunked" ]; then read_chunks; else take "$size"; fi
}
{
  printf '%s\n\n' "$head"
  read_body | { head -c "$most_body"; cat >/dev/null; }
} | answer ''
