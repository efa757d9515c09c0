// A backend of statsd that writes what each flush held as one line of JSON: what the receiver counted.
const fs = require('fs');

exports.init = function (startupTime, config, events) {
  let largest = 0;
  events.on('packet', (packet) => { largest = Math.max(largest, packet.length); });
  events.on('flush', (time, metrics) => {
    const { counters, gauges } = metrics;
    fs.appendFileSync(config.flushFile, JSON.stringify({ counters, gauges, largest }) + '\n');
  });
  return true;
};
