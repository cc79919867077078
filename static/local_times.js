// Times in the browser's time zone; without scripts they are in UTC.
"use strict";

// Write the times inside an element; what the server wrote stays as the tooltip.
const localTimes = (() => {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  return (element) => {
    for (const time of element.querySelectorAll("time[datetime]")) {
      if (time.title) continue;
      time.title = time.textContent;
      time.textContent = format.format(new Date(time.dateTime));
    }
  };
})();

localTimes(document);
