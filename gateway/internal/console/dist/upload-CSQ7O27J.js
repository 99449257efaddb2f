import{J as l,O as d,S as p,T as $,Y as f,ba as u,j as o,l as a,w as m}from"./chunk-6HC6SSCM.js";function s({params:i}){let{data:t,error:e,reload:n}=f(r=>a("GET","api/v1/batch",{query:{upload:i.id,view:"summary",limit:100},signal:r}).then(g=>g.data),[i.id]);return o`<${l}>Upload<//>
    <${p} error=${e} retry=${n} />
    ${!t&&!e&&o`<${$} />`}
    ${t&&o`<ul class="list">${t.jobs.map(r=>o`<li key=${r.job_id}>
      <a href=${u("job",{id:r.job_id})}>${m(r.total_images,"image")}</a> <${d} job=${r} /></li>`)}</ul>`}`}export{s as default};
