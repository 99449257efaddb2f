import{$ as a,R as m,aa as i,fa as p,m as r,o as e}from"./chunk-L5SGWHDE.js";function n(){let{data:o,error:t,reload:s}=p(d=>e("GET","api/v1/system",{signal:d}).then(f=>f.data));return r`<${m}>System<//>
    <${a} error=${t} retry=${s} />
    ${!o&&!t&&r`<${i} />`}
    ${o&&r`<p>Version ${o.version}</p>`}`}export{n as default};
