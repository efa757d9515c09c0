# How many files wait in a folder, as a plugin of Nagios would say it: what is behind the | becomes metrics.
queued=$(find "$1" -type f 2>/dev/null | wc -l)
echo "QUEUE OK - $queued files | queued=$queued;100;200;0"
