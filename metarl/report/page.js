(() => {
  "use strict";
  document.documentElement.classList.add("script");
  const panels = JSON.parse(document.getElementById("panels").textContent);
  const common = {
    font: { family: getComputedStyle(document.documentElement).fontFamily, size: 13, color: "#1c1e21" },
    margin: { l: 56, r: 14, t: 36, b: 48, pad: 4 },
    hovermode: "closest",
    hoverlabel: { align: "left", bgcolor: "#fff", font: { color: "#1c1e21", size: 13 } },
    showlegend: false,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: "#a3a9b0", activecolor: "#1c1e21" },
    // A finger that moves over a plot scrolls the page.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    height: 440,
  };
  const line = { gridcolor: "#e6e8ea", zerolinecolor: "#c9ccd0", linecolor: "#8a9098", ticks: "outside", tickcolor: "#c9ccd0" };
  const config = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  const paper = 640; // CSS pixels between the margins of a printed page

  const plotsOf = (panel) => [...panel.querySelectorAll(".plot")];
  const dataOf = (panel) => panels[Number(panel.dataset.panel)];

  function wrapped(text, div) {
    const most = Math.max(16, Math.floor((div.clientWidth - 90) / 8.4)); // letters that fit beside the ticks
    return text.split(" ").reduce((lines, word) => {
      const last = lines[lines.length - 1];
      if (last !== undefined && last.length + 1 + word.length <= most) lines[lines.length - 1] = last + " " + word;
      else lines.push(word);
      return lines;
    }, []).join("<br>");
  }

  function draw(panel) {
    const divs = plotsOf(panel).filter((div) => !div.dataset.drawn);
    divs.forEach((div) => {
      const plot = dataOf(panel).plots[Number(div.dataset.plot)];
      const layout = { ...common, ...plot.layout };
      layout.xaxis = { ...line, ...plot.layout.xaxis };
      layout.yaxis = { ...line, ...plot.layout.yaxis };
      layout.xaxis.title = { text: wrapped(plot.layout.xaxis.title.text, div) };
      div.dataset.drawn = "yes";
      const small = div.closest(".maps") !== null; // without buttons, and without room for them
      if (small) layout.margin = { ...common.margin, t: 8 };
      Plotly.newPlot(div, plot.traces, layout, { ...config, displayModeBar: small ? false : "hover" });
    });
  }

  function choose(panel, choice, option) {
    dataOf(panel).choices[choice].options[option].changes.forEach((change, number) => {
      const div = plotsOf(panel)[number];
      const layout = { ...change.layout };
      const title = "xaxis.title.text";
      if (title in layout) layout[title] = wrapped(layout[title], div);
      Plotly.update(div, change.style, layout);
    });
  }

  function toggle(panel, button) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    plotsOf(panel).forEach((div) => {
      const traces = div.data.flatMap((trace, number) => (trace.meta === Number(button.dataset.group) ? [number] : []));
      if (traces.length) Plotly.restyle(div, { visible: shown }, traces);
    });
  }

  document.querySelectorAll(".panel[data-panel]").forEach((panel) => {
    panel.querySelectorAll("select").forEach((select) => {
      select.addEventListener("change", () => choose(panel, Number(select.dataset.choice), select.selectedIndex));
    });
    panel.querySelectorAll(".legend button").forEach((button) => {
      button.addEventListener("click", () => toggle(panel, button));
    });
  });

  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const sectionOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));

  function select(tab, remember) {
    tabs.forEach((other) => {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
      sectionOf(other).hidden = other !== tab;
    });
    const list = tab.parentElement;
    list.scrollLeft = tab.offsetLeft - (list.clientWidth - tab.clientWidth) / 2;
    sectionOf(tab).querySelectorAll(".panel[data-panel]").forEach((panel) => {
      draw(panel);
      plotsOf(panel).forEach((div) => Plotly.Plots.resize(div));
    });
    if (remember) history.replaceState(null, "", "#" + sectionOf(tab).id);
  }

  tabs.forEach((tab, number) => {
    tab.addEventListener("click", () => select(tab, true));
    tab.addEventListener("keydown", (event) => {
      const places = { ArrowRight: number + 1, ArrowLeft: number - 1, Home: 0, End: tabs.length - 1 };
      if (!(event.key in places)) return;
      event.preventDefault();
      const next = tabs[(places[event.key] + tabs.length) % tabs.length];
      next.focus();
      select(next, true);
    });
  });
  const byHash = () => tabs.find((tab) => "#" + sectionOf(tab).id === location.hash);
  window.addEventListener("hashchange", () => byHash() && select(byHash(), false));
  select(byHash() || tabs[0], false);

  // On paper every section is shown, so every plot must be there, as wide as the paper.
  const everyPlot = () => [...document.querySelectorAll(".plot")];
  const folded = () => [...document.querySelectorAll("details:not([open])")];
  let opened = [];
  function toPaper() {
    opened = [...opened, ...folded()];
    opened.forEach((details) => (details.open = true));
    tabs.forEach((tab) => (sectionOf(tab).hidden = false));
    document.querySelectorAll(".panel[data-panel]").forEach(draw);
    everyPlot().forEach((div) => Plotly.relayout(div, { width: div.closest(".maps") ? paper / 2 - 10 : paper }));
  }
  function toScreen() {
    opened.forEach((details) => (details.open = false));
    opened = [];
    everyPlot().forEach((div) => Plotly.relayout(div, { width: null, autosize: true }));
    select(tabs.find((tab) => tab.tabIndex === 0), false);
  }
  window.addEventListener("beforeprint", toPaper);
  window.addEventListener("afterprint", toScreen);
})();
