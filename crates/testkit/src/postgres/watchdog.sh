# Run by process.rs as `sh -c … watchdog HOME`: waits until the test has ended, however it ended, then
# stops its server and removes the directory.
home=$1
read -r _

pid=$(sed -n 1p "$home/data/postmaster.pid")
# The number may be another process's by now: a postmaster works in its data directory.
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$home/data" ]; then
  processes="$pid $(cat "/proc/$pid/task/$pid/children")"
  kill -CONT $processes
  kill -QUIT "$pid"
  tries=0
  while [ -e "/proc/$pid/exe" ] && [ $tries -lt 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  if [ -e "/proc/$pid/exe" ]; then kill -KILL $processes; fi
fi

# A server that was killed leaves its shared memory; line 7 ends with its number.
memory=$(sed -n '7s/.* //p' "$home/data/postmaster.pid")
if [ -n "$memory" ]; then ipcrm -m "$memory"; fi
rm -rf "$home"
