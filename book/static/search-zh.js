// Chinese has no spaces, and Sphinx cuts a query at spaces only: cut it into the longest words that the index knows.
var splitQuery = (query) =>
  (query.match(/\p{Script=Han}+|[\p{Letter}\p{Number}_]+/gu) || []).flatMap((part) => {
    const han = part.match(/\p{Script=Han}+|\P{Script=Han}+/gu);
    return han.flatMap((run) => (/\p{Script=Han}/u.test(run) ? longestWords(run) : [run]));
  });

function longestWords(run) {
  const known = (word) => [Search._index.terms, Search._index.titleterms].some((terms) => Object.hasOwn(terms, word));
  const words = [];
  for (let start = 0; start < run.length; ) {
    let end = run.length;
    while (end > start + 1 && !known(run.slice(start, end))) end--;
    if (end > start + 1) words.push(run.slice(start, end));
    start = end;
  }
  return words.length ? words : [run];
}
