import{$ as p,M as m,V as a,W as i,k as r,n as e}from"./chunk-UWH2LT27.js";function n(){let{data:o,error:t,reload:s}=p(d=>e("GET","api/v1/system",{signal:d}).then(f=>f.data));return r`<${m}>System<//>
    <${a} error=${t} retry=${s} />
    ${!o&&!t&&r`<${i} />`}
    ${o&&r`<p>Version ${o.version}</p>`}`}export{n as default};
