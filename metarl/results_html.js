(() => {
  "use strict";
  document.documentElement.classList.add("script");
  const panels = JSON.parse(document.getElementById("panels").textContent);
  const common = {
    font: { family: getComputedStyle(document.documentElement).fontFamily, size: 13, color: "#1c1e21" },
    margin: { l: 56, r: 12, t: 12, b: 48, pad: 4 },
    hovermode: "closest",
    hoverlabel: { align: "left", bgcolor: "#fff", font: { color: "#1c1e21", size: 13 } },
    showlegend: false,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    height: 430,
  };
  const line = { gridcolor: "#e6e8ea", zerolinecolor: "#c9ccd0", linecolor: "#8a9098", ticks: "outside", tickcolor: "#c9ccd0" };
  const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const paper = 640; // CSS pixels between the margins of a printed page

  const plotsOf = (panel) => [...panel.querySelectorAll(".plot")];
  const dataOf = (panel) => panels[Number(panel.dataset.panel)];

  function draw(panel) {
    const divs = plotsOf(panel).filter((div) => !div.dataset.drawn);
    divs.forEach((div) => {
      const plot = dataOf(panel).plots[Number(div.dataset.plot)];
      const layout = { ...common, ...plot.layout };
      layout.xaxis = { ...line, ...plot.layout.xaxis };
      layout.yaxis = { ...line, ...plot.layout.yaxis };
      div.dataset.drawn = "yes";
      Plotly.newPlot(div, plot.traces, layout, config);
    });
  }

  function choose(panel, choice, option) {
    dataOf(panel).choices[choice].options[option].changes.forEach((change, number) => {
      const div = plotsOf(panel)[number];
      Plotly.update(div, change.style, change.layout);
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
  function toPaper() {
    tabs.forEach((tab) => (sectionOf(tab).hidden = false));
    document.querySelectorAll(".panel[data-panel]").forEach(draw);
    everyPlot().forEach((div) => Plotly.relayout(div, { width: div.closest(".maps") ? paper / 2 - 10 : paper }));
  }
  function toScreen() {
    everyPlot().forEach((div) => Plotly.relayout(div, { width: null, autosize: true }));
    select(tabs.find((tab) => tab.tabIndex === 0), false);
  }
  window.addEventListener("beforeprint", toPaper);
  window.addEventListener("afterprint", toScreen);
})();
